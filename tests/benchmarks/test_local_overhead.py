import sys
from pathlib import Path

import pytest

from benchmarks import local_timing
from benchmarks.local_overhead import show
from benchmarks.local_timing import (
    Times,
    Work,
    read_times,
    run_asynctune,
    run_bare,
    run_many,
    run_optuna,
    summary,
)
from benchmarks.peers.process import PeerError


def test_times_are_read_in_the_order_of_the_processes(tmp_path):
    (tmp_path / "b").write_text("10.0\n11.0 11.25\n12.0 12.5\n")
    (tmp_path / "a").write_text("5.0\n6.0 6.125\n")
    found = read_times(tmp_path)
    assert found == Times([5.0, 10.0], [6.0, 12.0], [0.125, 0.25, 0.5], [6.0, 11.0, 12.0])
    assert found.handovers() == [4.0]
    assert found.span() == 7.0
    assert summary(found.waited) == {"median_ms": 250.0, "p95_ms": pytest.approx(475.0), "n": 3}


def with_optuna(work: Work, times: Path) -> None:
    assert len(run_optuna(work, times)) == work.trials * work.levels


def with_asynctune(work: Work, times: Path) -> None:
    run_asynctune(work, times, times.parent / "experiment")


@pytest.mark.parametrize("runs", [with_asynctune, with_optuna, run_bare])
def test_all_that_run_trials_have_them_write_down_their_times(tmp_path, monkeypatch, runs):
    monkeypatch.setattr(local_timing, "_OPTUNA", Path(sys.executable))
    times = tmp_path / "times"
    times.mkdir()
    runs(Work(3, 1, 2, 0.001), times)
    found = read_times(times)
    assert len(found.begun) == 3
    assert len(found.waited) == 6
    assert all(wait > 0 for wait in found.waited)
    assert all(gap > 0 for gap in found.handovers())


def test_workers_share_the_trials_that_optuna_runs(tmp_path, monkeypatch):
    monkeypatch.setattr(local_timing, "_OPTUNA", Path(sys.executable))
    run_optuna(Work(3, 2, 1, 0.001), tmp_path)
    assert len(read_times(tmp_path).begun) == 3
    with pytest.raises(PeerError, match="Optuna ended with status"):
        run_optuna(Work(1, 1, 1, -1.0), tmp_path)


def test_many_trials_are_watched_from_the_first_to_the_last(tmp_path):
    first, last = run_many(6, 2, tmp_path, every=3)
    assert (first["trials"], last["trials"]) == (3, 6)
    assert first["cpu_seconds"] < last["cpu_seconds"]
    assert first["n"] > 0 and last["n"] > 0  # noqa: PT018 - of a kind
    assert first["median_ms"] > 0


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
    assert "Optuna" not in shown + short
    optuna = {"handover": of(90.0), "answer": of(2.0), "short_seconds": 6.0}
    shown, short = show({**figures, "optuna": optuna})
    under = next(line for line in shown.splitlines() if "under Optuna" in line)
    assert [cell.strip() for cell in under.split("|")[2:5]] == ["90.0", "180.0", "7"]
    assert "under Optuna 6.0 s" in short
