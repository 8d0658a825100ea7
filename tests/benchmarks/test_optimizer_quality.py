import json

import numpy as np
import pytest

from benchmarks import optimizer_quality
from benchmarks.optimizer_quality import Case, Plan, collect, common, figures, show
from benchmarks.peers.cache import answers_of, cached, code_of
from benchmarks.peers.evaluation import duration, incumbents, run
from benchmarks.peers.problems import PROBLEMS, Problem
from benchmarks.peers.process import PEERS
from benchmarks.peers.space import Parameter

SLOPE = Problem("slope", (Parameter("x", low=0, high=1),), lambda c: c["x"], 12, 0.0, 1e-3)


def test_the_incumbent_is_chosen_by_what_was_told_and_judged_by_the_truth():
    told, true = [3.0, 1.0, 2.0, 0.5], [3.1, 1.4, 0.0, 0.9]
    assert incumbents(told, true).tolist() == [3.1, 1.4, 1.4, 0.9]
    assert incumbents([1.0, 1.0], [5.0, 4.0]).tolist() == [5.0, 4.0]


def test_several_workers_have_so_many_trials_under_way_and_end_in_another_order():
    result = run(PEERS["random"], SLOPE, seed=0, n_workers=4, evaluations=12)
    alone = run(PEERS["random"], SLOPE, seed=0, n_workers=1, evaluations=12)
    assert len(result["told"]) == 12
    assert sorted(result["told"]) == sorted(alone["told"])
    assert result["told"] != alone["told"]
    assert [result["told"][0]] == [alone["told"][np.argmin([duration(0, k) for k in range(4)])]]


def test_noise_is_told_but_not_counted():
    noisy = SLOPE._replace(noise=1.0)
    result = run(PEERS["random"], noisy, seed=0, n_workers=1, evaluations=6)
    assert result["told"] != result["true"]
    assert all(0 <= value <= 1 for value in result["true"])


def test_a_result_is_kept_and_found_again_and_goes_with_its_key(tmp_path):
    calls = []

    def compute():
        calls.append(1)
        return {"told": [1.0]}

    key = {"peer": "a peer", "problem": "slope", "seed": 1}
    assert cached(tmp_path, key, None) is None
    assert cached(tmp_path, key, compute) == cached(tmp_path, key, compute) == {"told": [1.0]}
    assert len(calls) == 1
    assert cached(tmp_path, key | {"seed": 2}, None) is None
    (file,) = tmp_path.iterdir()
    assert json.loads(file.read_text())["key"] == key


def test_digests_tell_problems_and_methods_apart():
    assert answers_of(SLOPE) == answers_of(SLOPE._replace(evaluations=99))
    assert answers_of(SLOPE) != answers_of(SLOPE._replace(truth=lambda c: c["x"] ** 2))
    assert answers_of(SLOPE) != answers_of(SLOPE._replace(noise=0.1))
    codes = {code_of(peer) for peer in PEERS.values()}
    assert len(codes) == len(PEERS)


def results():
    falling = np.linspace(1, 0, 12)
    return {
        Case("branin", 1): {
            "asynctune BO": {s: falling + s / 100 for s in range(6)},
            "random": {s: falling + 1 + s / 100 for s in range(6)},
            "absent": {},
        }
    }


def test_only_seeds_that_all_have_are_compared():
    by_peer = results()[Case("branin", 1)]
    del by_peer["random"][2]
    curves = common(by_peer)
    assert set(curves) == {"asynctune BO", "random"}
    assert curves["random"].shape == (5, 12)
    assert common({"a": {1: np.ones(3)}, "b": {2: np.ones(3)}}) == {}
    assert common({"a": {}}) == {}


def test_the_tables_say_who_is_better():
    rows = figures(results())
    ends = [row for row in rows if row["share"] == 1.0]
    assert [(row["optimizer"], row["mean_rank"]) for row in ends] == [
        ("asynctune BO", 1.0),
        ("random", 2.0),
    ]
    assert ends[1]["ours"] == "win"
    assert ends[0]["iqm"] == pytest.approx(0.025, abs=2e-3)
    assert ends[0]["low"] <= ends[0]["iqm"] <= ends[0]["high"]
    text = "\n".join(show(rows))
    assert "branin, 1 worker, 6 seeds" in text
    (ranks,) = [line for line in text.splitlines() if line.startswith("| random") and "/" in line]
    assert ranks.split("|")[6].strip() == "1 of 1"
    assert ranks.split("|")[-2].strip() == "1/0/0"


def test_a_piece_that_has_no_time_left_runs_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(optimizer_quality, "FOLDER", tmp_path)
    plan = Plan((Case("branin", 1),), (PEERS["random"],), 2, 8, None)
    done = collect(plan)
    assert set(done[Case("branin", 1)]["random"]) == {0, 1}
    again = collect(plan._replace(n_seeds=3, seconds=0.0))
    assert set(again[Case("branin", 1)]["random"]) == {0, 1}
    values = again[Case("branin", 1)]["random"][0]
    assert values.shape == (8,)
    assert (values >= PROBLEMS["branin"].optimum).all()
