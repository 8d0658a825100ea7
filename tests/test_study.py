"""Planning and running studies: seeds, budgets, folders, processes."""

from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from asynctune.benchmark import Benchmark
from asynctune.exceptions import UsageError
from asynctune.experiment import JOURNAL, RESULTS, read_metadata
from asynctune.results import load_study
from asynctune.space import uniform
from asynctune.study import (
    StudyPlan,
    check_tag,
    known_random_seed,
    open_study,
    run_experiments,
    tag_of,
)

PLAN = StudyPlan(
    tag="small",
    benchmark="transformer_wikitext2",
    random_seed=2938702734,
    methods=("RS", "ASHA"),
    n_workers=(2, 4),
    num_seeds=2,
    max_wallclock_time=1500.0,
    profile="local",
)


def run(plan: StudyPlan, results: Path, jobs: int = 1) -> list[str]:
    """Run what is to be run and return its names."""
    todo = open_study(plan, results)
    run_experiments(todo, results / plan.tag, jobs=jobs, progress=lambda *_: None)
    return [e.name for e in todo]


def journals(folder: Path) -> dict[str, bytes]:
    return {p.parent.name: p.read_bytes() for p in folder.glob(f"*/{JOURNAL}")}


def test_experiments_are_the_product_in_order() -> None:
    names = [e.name for e in PLAN.experiments()]
    assert names == [
        *("RS-2w-0", "RS-2w-1", "ASHA-2w-0", "ASHA-2w-1"),
        *("RS-4w-0", "RS-4w-1", "ASHA-4w-0", "ASHA-4w-1"),
    ]


def test_num_seeds_is_a_count_from_start_seed() -> None:
    plan = replace(PLAN, start_seed=3, num_seeds=2, methods=("RS",), n_workers=(1,))
    assert [e.seed for e in plan.experiments()] == [3, 4]


def test_seed_rule() -> None:
    plan = replace(PLAN, methods=("RS",), n_workers=(2,))
    assert [e.scheduler_seed for e in plan.experiments()] == [791219087, 791219088]


@pytest.mark.parametrize(
    ("given", "scale", "expected"),
    [
        (None, True, [36_000, 18_000, 18_000]),
        (None, False, [18_000, 18_000, 18_000]),
        (600.0, True, [600, 600, 600]),
    ],
)
def test_wall_clock_rule(given: float | None, scale: bool, expected: list[float]) -> None:
    plan = replace(
        PLAN,
        methods=("RS",),
        n_workers=(2, 4, 8),
        num_seeds=1,
        max_wallclock_time=given,
        scale_max_wallclock_time=scale,
    )
    assert [e.stopping.max_wallclock_time for e in plan.experiments()] == expected


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tag": "under_score"}, "a tag must be"),
        ({"tag": ""}, "a tag must be"),
        ({"tag": "a" * 64}, "a tag must be"),
        ({"num_seeds": 0}, "num_seeds must be at least 1; got 0"),
        ({"start_seed": -1}, "start_seed must be at least 0; got -1"),
        ({"random_seed": -1}, "random_seed must be at least 0; got -1"),
        ({"n_workers": (2, 0)}, "n_workers must be at least 1; got 0"),
        ({"methods": ("RS", "magic")}, "method must be one of .*; got 'magic'"),
    ],
)
def test_bad_plans_are_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        replace(PLAN, **change)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"benchmark": "nope"}, "benchmark must be one of .*; got 'nope'"),
        ({"profile": "nope"}, "profile must be one of .*; got 'nope'"),
        ({"backend": "nope"}, "backend must be one of .*; got 'nope'"),
        ({"backend_options": {"nope": 1}}, "option must be one of .*; got 'nope'"),
        ({"backend_options": {"startup_delay": -1}}, "startup_delay must be .*; got -1"),
        ({"backend_options": {"startup_delay": "x"}}, "startup_delay must be of type float"),
        ({"backend_options": {"capacity": 1.5}}, "capacity must be of type int; got 1.5"),
        ({"backend_options": {"checkpointing": 1}}, "checkpointing must be of type bool; got 1"),
        ({"backend_options": {"prices": 3}}, "prices must be of type dict; got 3"),
        ({"method_options": {"nope": 1}}, "options are: .*; got 'nope'"),
        (
            {"methods": ("ASHA",), "method_options": {"grace_period": 1.5}},
            "grace_period must be of type int; got 1.5",
        ),
        (
            {"methods": ("ASHA",), "method_options": {"continue_in_place": 5}},
            "continue_in_place must be of type bool; got 5",
        ),
        (
            {"methods": ("MOBSTER",), "method_options": {"num_init_random": "x"}},
            "num_init_random must be of type int; got 'x'",
        ),
        (
            {"methods": ("MOBSTER",), "method_options": {"resource_kernel": "x"}},
            "resource_kernel must be one of .*; got 'x'",
        ),
    ],
)
def test_bad_inputs_leave_nothing_behind(
    tmp_path: Path, change: dict[str, object], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        open_study(replace(PLAN, **change), tmp_path)  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


def test_one_and_two_processes_write_the_same_bytes(tmp_path: Path) -> None:
    run(PLAN, tmp_path / "one", jobs=1)
    run(PLAN, tmp_path / "two", jobs=2)
    one, two = journals(tmp_path / "one" / "small"), journals(tmp_path / "two" / "small")
    assert len(one) == 8
    assert one == two


def test_complete_experiments_are_not_run_again_and_interrupted_ones_are(tmp_path: Path) -> None:
    plan = replace(PLAN, n_workers=(2,))
    assert len(run(plan, tmp_path)) == 4
    whole = journals(tmp_path / "small")
    assert run(plan, tmp_path) == []
    torn = tmp_path / "small" / "ASHA-2w-1"
    (torn / JOURNAL).write_bytes(whole["ASHA-2w-1"][:1234])
    (torn / RESULTS).unlink()
    assert run(plan, tmp_path) == ["ASHA-2w-1"]
    assert journals(tmp_path / "small") == whole
    assert run(replace(plan, num_seeds=3), tmp_path) == ["RS-2w-2", "ASHA-2w-2"]


@pytest.mark.parametrize(
    "change",
    [
        {"random_seed": 1},
        {"profile": "sagemaker"},
        {"backend_options": {"startup_delay": 60}},
        {"max_wallclock_time": 1400.0},
        {"method_options": {"type": "stopping"}, "methods": ("ASHA",)},
    ],
)
def test_another_study_in_the_folder_is_refused(tmp_path: Path, change: dict[str, object]) -> None:
    plan = replace(PLAN, n_workers=(2,), num_seeds=1)
    run(plan, tmp_path)
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    with pytest.raises(UsageError, match=r"belongs to another study|holds an"):
        open_study(replace(plan, **change), tmp_path)  # type: ignore[arg-type]
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before


def test_a_folder_with_other_things_in_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "small").mkdir()
    (tmp_path / "small" / "thesis.txt").write_text("do not lose me")
    with pytest.raises(UsageError, match="is not empty and holds no study"):
        open_study(PLAN, tmp_path)


@pytest.mark.parametrize(
    ("name", "tag"),
    [("own", "own"), ("my_bench.v2-", "my-bench-v2"), ("a" * 62 + "_b", "a" * 62), ("_", "study")],
)
def test_a_tag_is_made_of_any_name(name: str, tag: str) -> None:
    assert tag_of(name) == tag
    check_tag(tag)


def test_the_random_seed_of_a_study_is_known_to_the_next_launch(tmp_path: Path) -> None:
    assert known_random_seed("small", tmp_path) is None
    open_study(PLAN, tmp_path)
    assert known_random_seed("small", tmp_path) == 2938702734


def test_metadata_says_what_was_run(tmp_path: Path) -> None:
    run(replace(PLAN, methods=("RS",), n_workers=(2,), num_seeds=1), tmp_path)
    metadata = read_metadata(tmp_path / "small" / "RS-2w-0")
    assert metadata is not None
    assert metadata["status"] == "complete"
    assert metadata["stopped_by"] == "max_wallclock_time"
    assert metadata["experiment_seconds"] == 1500
    assert metadata["utilisation"] == pytest.approx(1.0)
    assert metadata["provenance"]


def test_progress_tells_of_every_experiment(tmp_path: Path) -> None:
    plan = replace(PLAN, methods=("RS",), num_seeds=1)
    complete: dict[str, float] = {}

    def progress(name: str, seconds: float, metadata: dict[str, object] | None) -> None:
        if metadata is not None:
            complete[name] = seconds

    todo = open_study(plan, tmp_path)
    run_experiments(todo, tmp_path / plan.tag, jobs=2, progress=progress)
    assert complete == {"RS-2w-0": 1500, "RS-4w-0": 1500}


def straight_line(config: dict[str, float]) -> tuple[list[float], list[float]]:
    return [config["x"] + 1, config["x"]], [10.0, 20.0]


def straight_lines() -> object:
    return straight_line


def test_a_benchmark_of_ones_own(tmp_path: Path) -> None:
    benchmark = Benchmark(
        name="mine",
        space={"x": uniform(0, 1)},
        metric="loss",
        mode="min",
        resource="epoch",
        max_resource=2,
        max_wallclock_time=100.0,
        n_workers=2,
        blackbox=straight_lines,
    )
    plan = replace(
        PLAN,
        benchmark=benchmark,
        methods=("RS",),
        max_wallclock_time=None,
        backend_options={"startup_delay": 0.0, "prices": {}},
    )
    run(plan, tmp_path, jobs=2)
    study = load_study("small", tmp_path)
    assert set(study.metadata["benchmark"]) == {"mine"}
    assert study.reports.filter(pl.col("n_workers") == 2, pl.col("seed") == 0).height == 20


def test_no_process_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="jobs must be at least 1; got 0"):
        run_experiments([], tmp_path, jobs=0, progress=lambda *_: None)
