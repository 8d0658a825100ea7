"""Run a study from nothing, and hold its results."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from asynctune.results import Study, load_study
from asynctune.study import StudyPlan, open_study, run_experiments


@contextmanager
def finished(plan: StudyPlan, jobs: int = 1) -> Iterator[tuple[Study, Path]]:
    """Run a plan's experiments; yield its results, and its folder, which is then removed."""
    with tempfile.TemporaryDirectory() as results:
        folder = Path(results) / plan.tag
        run_experiments(open_study(plan, Path(results)), folder, jobs=jobs, progress=_silent)
        yield load_study(plan.tag, results), folder


def _silent(*_: object) -> None:
    """Say nothing of progress."""
