from pathlib import Path

import pytest

from benchmarks.local_overhead import show
from benchmarks.local_timing import Times, Work, read_times, run_asynctune, summary


def test_times_are_read_in_the_order_of_the_processes(tmp_path):
    (tmp_path / "b").write_text("10.0\n11.0 11.25\n12.0 12.5\n")
    (tmp_path / "a").write_text("5.0\n6.0 6.125\n")
    found = read_times(tmp_path)
    assert found == Times([5.0, 10.0], [6.0, 12.0], [0.125, 0.25, 0.5], [6.0, 11.0, 12.0])
    assert found.handovers() == [4.0]
    assert summary(found.waited) == {"median_ms": 250.0, "p95_ms": pytest.approx(475.0), "n": 3}


def test_trials_that_are_tuned_write_down_their_times(tmp_path: Path):
    times = tmp_path / "times"
    times.mkdir()
    run_asynctune(Work(3, 1, 2, 0.001), times, tmp_path / "experiment")
    found = read_times(times)
    assert len(found.begun) == 3
    assert len(found.waited) == 6
    assert all(wait > 0 for wait in found.waited)
    assert all(gap > 0 for gap in found.handovers())


def test_what_tuning_adds_is_shown():
    def of(median):
        return {"median_ms": median, "p95_ms": 2 * median, "n": 7}

    figures = {
        "handover_bare": of(30.0),
        "handover": of(42.0),
        "answer": of(1.0),
        "answer_while_proposing": of(3.0),
        "short_trials": {"trials": 64, "workers": 2, "bare_seconds": 2.0, "seconds": 3.0},
        "target_ms": 20.0,
    }
    shown, short = show(figures)
    beyond = next(line for line in shown.splitlines() if "beyond" in line)
    assert [cell.strip() for cell in beyond.split("|")[2:6]] == ["12.0", "24.0", "", "20"]
    assert "3.0 s, without a tuner 2.0 s" in short
