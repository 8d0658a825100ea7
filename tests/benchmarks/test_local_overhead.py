import json
from pathlib import Path

import pytest

from benchmarks import local_overhead
from benchmarks.local_overhead import show
from benchmarks.local_timing import (
    Times,
    Work,
    read_times,
    run_asynctune,
    run_bare,
    run_many,
    summary,
)


def test_times_are_read_in_the_order_of_the_processes(tmp_path):
    (tmp_path / "b").write_text("10.0\n11.0 11.25\n12.0 12.5\n")
    (tmp_path / "a").write_text("5.0\n6.0 6.125\n")
    found = read_times(tmp_path)
    assert found == Times([5.0, 10.0], [6.0, 12.0], [0.125, 0.25, 0.5], [6.0, 11.0, 12.0])
    assert found.handovers() == [4.0]
    assert found.span() == 7.0
    assert summary(found.waited) == {"median_ms": 250.0, "p95_ms": pytest.approx(475.0), "n": 3}


def with_asynctune(work: Work, times: Path) -> None:
    run_asynctune(work, times, times.parent / "experiment")


@pytest.mark.parametrize("runs", [with_asynctune, run_bare])
def test_all_that_run_trials_have_them_write_down_their_times(tmp_path, runs):
    times = tmp_path / "times"
    times.mkdir()
    runs(Work(3, 1, 2, 0.001), times)
    found = read_times(times)
    assert len(found.begun) == 3
    assert len(found.waited) == 6
    assert all(wait > 0 for wait in found.waited)
    assert all(gap > 0 for gap in found.handovers())


def test_many_trials_are_watched_from_the_first_to_the_last(tmp_path):
    first, last = run_many(6, 2, tmp_path, every=3)
    assert (first["trials"], last["trials"]) == (3, 6)
    assert first["cpu_seconds"] < last["cpu_seconds"]
    assert first["n"] > 0 and last["n"] > 0  # noqa: PT018 - of a kind
    assert first["median_ms"] > 0


def of(median):
    return {"median_ms": median, "p95_ms": 2 * median, "n": 7}


FIGURES = {
    "handover_bare": of(30.0),
    "handover": of(42.0),
    "answer": of(1.0),
    "answer_while_proposing": of(3.0),
    "short_trials": {"trials": 64, "workers": 2, "bare_seconds": 2.0, "seconds": 3.0},
    "target_ms": 20.0,
}
OPTUNA = {"handover": of(90.0), "answer": of(2.0), "short_seconds": 6.0}
RAY = {
    "command": {"handover": of(70.0), "answer": of(4.0), "short_seconds": 5.0},
    "kept": {"handover": of(10.0), "answer": of(5.0), "short_seconds": 1.0},
    "fresh": {"handover": of(1500.0), "answer": of(6.0)},
}


def cells(shown, what):
    """Return what stands beside it in the table."""
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in shown.splitlines()]
    (found,) = (row[1:] for row in rows if row[0] == what)
    return found


def test_what_tuning_adds_is_shown():
    shown, short = show(FIGURES)
    assert cells(shown, "what asynctune's is beyond no tuner") == ["12.0", "24.0", "", "20"]
    assert short.endswith("3.0 s, without a tuner 2.0 s\n")
    assert "Optuna" not in shown + short
    assert "Ray" not in shown + short


def test_other_tuners_are_shown_beside_it():
    shown, short = show({**FIGURES, "optuna": OPTUNA})
    assert cells(shown, "the same under Optuna") == ["90.0", "180.0", "7", ""]
    assert cells(shown, "report() to its answer under Optuna") == ["2.0", "4.0", "7", ""]
    assert short.endswith("without a tuner 2.0 s, under Optuna 6.0 s\n")
    assert "Ray" not in shown + short
    shown, short = show({**FIGURES, "optuna": OPTUNA, "ray": RAY})
    assert cells(shown, "the same under Ray Tune")[0] == "70.0"
    assert cells(shown, "the same inside Ray Tune's kept actors")[0] == "10.0"
    assert cells(shown, "the same inside Ray Tune's fresh actors")[0] == "1500.0"
    assert cells(shown, "report() to its answer under Ray Tune")[0] == "4.0"
    assert cells(shown, "report() to its answer inside Ray Tune's fresh actors")[0] == "6.0"
    assert short.endswith(
        "under Optuna 6.0 s, under Ray Tune 5.0 s, inside Ray Tune's kept actors 1.0 s\n"
    )


def test_figures_are_written_of_the_tuners_that_are_installed(tmp_path, monkeypatch, capsys):
    calls = []

    def run(name, answers):
        def noted(work, times, *_, **options):
            calls.append((name, work.trials, *options.values()))
            for n in range(work.trials):
                (times / str(n)).write_text(f"{n}.0\n{n}.5 {n}.75\n")
            return answers

        return noted

    def slow(work, _seconds, _folder, times):
        return run("slow", [0.25])(work, times)

    monkeypatch.setattr(local_overhead, "run_bare", run("nobody", None))
    monkeypatch.setattr(local_overhead, "run_asynctune", run("asynctune", None))
    monkeypatch.setattr(local_overhead, "waits_during_proposals", slow)
    monkeypatch.setattr(local_overhead, "run_ray", run("Ray", [0.125]))
    monkeypatch.setattr(local_overhead, "installed", lambda name: name == "Ray Tune")
    path = tmp_path / "figures.json"
    monkeypatch.setattr("sys.argv", ["local_overhead", "--trials", "20", "--json", str(path)])
    local_overhead.main()
    figures = json.loads(path.read_text())
    assert "optuna" not in figures
    assert list(figures["ray"]) == ["command", "kept", "fresh"]
    assert figures["ray"]["kept"]["short_seconds"] == 63.5
    assert figures["ray"]["fresh"]["handover"] == {"median_ms": 500.0, "p95_ms": 500.0, "n": 11}
    assert figures["ray"]["fresh"]["answer"]["median_ms"] == 125.0
    assert [call for call in calls if call[0] == "Ray"] == [
        ("Ray", 20, "command"),
        ("Ray", 64, "command"),
        ("Ray", 20, "kept"),
        ("Ray", 64, "kept"),
        ("Ray", 12, "fresh"),
    ]
    assert "the same under Ray Tune" in capsys.readouterr().out
