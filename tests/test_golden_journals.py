"""Journals of small simulated experiments, to the byte.

They change only when the rules or the format do. Then look at what changed, and write them anew:

    python tests/test_golden_journals.py

and read the difference before it is committed.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from small_experiments import journal_of, small_experiment

GOLDEN = Path(__file__).parent / "golden"

EXPERIMENTS = {
    "random-search": {"method": "RS", "n_workers": 2, "bounds": {"max_trials": 3}},
    "asha-in-place": {"method": "ASHA", "bounds": {"max_wallclock_time": 500.0}},
    "asha-new-attempts": {
        "method": "ASHA",
        "method_options": {"continue_in_place": False},
        "bounds": {"max_wallclock_time": 500.0},
    },
    "asha-stopping": {
        "method": "ASHA",
        "method_options": {"type": "stopping"},
        "landscape": {"diverging": True, "mode": "max"},
        "bounds": {"max_evaluations": 60},
    },
    "faults": {
        "method": "ASHA",
        "profile": "sagemaker",
        "options": {
            "failure_rate": 6.0,
            "preemption_rate": 6.0,
            "report_delay": 45.0,
            "capacity": 3,
        },
        "bounds": {"max_wallclock_time": 2500.0},
    },
    "lock-step": {
        "method": "ASHA",
        "n_workers": 6,
        "options": {"startup_delay": 0.0},
        "landscape": {"lock_step": True},
        "bounds": {"max_wallclock_time": 9.0},
        "decision_cost": 0.5,
    },
}


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_a_journal_is_what_it_was(name, tmp_path):
    found = journal_of(small_experiment(**EXPERIMENTS[name]), tmp_path).splitlines()
    golden = (GOLDEN / f"{name}.jsonl").read_bytes().splitlines()
    for number, (line, expected) in enumerate(zip(found, golden, strict=False)):
        assert line == expected, f"line {number} of {name}"
    assert len(found) == len(golden)


def test_journals_do_not_depend_on_the_process(tmp_path):
    """Neither on addresses, nor on the seed of hashes, nor on the allocator."""
    name = "faults"
    for i, more in enumerate(({"PYTHONHASHSEED": "1"}, {"PYTHONMALLOC": "malloc"})):
        command = [sys.executable, __file__, str(tmp_path / str(i)), name]
        subprocess.run(command, check=True, env=os.environ | more)
        written = (tmp_path / str(i) / f"{name}.jsonl").read_bytes()
        assert written == (GOLDEN / f"{name}.jsonl").read_bytes()


def write(folder, names):
    """Write the journals of some experiments."""
    from tempfile import TemporaryDirectory

    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        with TemporaryDirectory() as scratch:
            journal = journal_of(small_experiment(**EXPERIMENTS[name]), Path(scratch))
        (folder / f"{name}.jsonl").write_bytes(journal)


if __name__ == "__main__":
    write(Path(sys.argv[1]) if len(sys.argv) > 1 else GOLDEN, sys.argv[2:] or EXPERIMENTS)
