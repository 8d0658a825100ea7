import pytest

from asynctune.study import StudyPlan, open_study, run_experiments
from benchmarks.study_speed import Experiment, figures, read_experiment, show


def test_an_experiment_is_read_from_its_journal(tmp_path):
    plan = StudyPlan(
        tag="speed",
        benchmark="transformer_wikitext2",
        random_seed=1,
        methods=("ASHA", "MOBSTER"),
        n_workers=(4,),
        max_wallclock_time=4000,
    )
    todo = open_study(plan, tmp_path)
    run_experiments(todo, tmp_path / "speed", jobs=1, progress=lambda *_: None)
    asha, mobster = (read_experiment(tmp_path / "speed" / e.name) for e in todo)
    assert (asha.method, asha.proposals, asha.refits) == ("ASHA", 0, 0)
    assert 0 < mobster.refits <= mobster.proposals
    assert mobster.observations >= mobster.proposals
    assert mobster.reports > mobster.proposals
    with pytest.raises(FileNotFoundError, match="holds no experiment"):
        read_experiment(tmp_path)


def test_figures_are_by_setup_and_then_by_method():
    experiments = [
        Experiment("RS", 2, 0.5, 100, 0, 0, 0),
        Experiment("BO", 2, 1.0, 100, 10, 200, 4),
        Experiment("BO", 4, 2.0, 200, 30, 1200, 6),
    ]
    rows = figures(experiments)
    assert [(r["method"], r["n_workers"]) for r in rows] == [
        ("RS", 2),
        ("BO", 2),
        ("BO", 4),
        ("RS", 2),
        ("BO", None),
    ]
    assert rows[-1]["ms_a_proposal"] == pytest.approx(75)
    assert rows[-1]["mean_observations"] == pytest.approx(35)
    assert rows[-1]["refits"] == 10
    assert rows[0]["ms_a_proposal"] is None
    assert show(rows).splitlines()[-1].split("|")[2].strip() == "all"
