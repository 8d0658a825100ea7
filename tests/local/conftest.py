import os
import signal
from contextlib import suppress

import pytest
from trials import processes_of


@pytest.fixture(autouse=True)
def nothing_runs_on(tmp_path):
    """Kill what a test that has failed leaves behind: detached trials would go on for ever."""
    yield
    for pid in processes_of(tmp_path):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
