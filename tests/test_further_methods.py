"""Whole experiments of the methods beyond those of the reference study."""

import random

import pytest
from small_experiments import CLUSTERS, journal_of, small_experiment

from asynctune.experiment import JOURNAL, RESULTS, read_metadata, run_experiment
from asynctune.explain import explain
from asynctune.methods import METHODS as REGISTERED

CUTS = 5
METHODS = {
    "Hyperband": {"method": "Hyperband"},
    "Hyperband, stopping": {
        "method": "Hyperband",
        "method_options": {"type": "stopping", "shared_rungs": True},
    },
    "HyperTune": {"method": "HyperTune"},
    "independent": {
        "method": "MOBSTER",
        "method_options": {"resource_kernel": "independent", "continue_in_place": False},
    },
    "markov": {"method": "MOBSTER", "method_options": {"resource_kernel": "markov"}},
    "OneEpoch": {"method": "OneEpoch", "method_options": {"k": 2}},
}
if "TPE" in REGISTERED:
    METHODS["TPE"] = {"method": "TPE", "method_options": {"num_init_random": 4}}


@pytest.mark.parametrize("profile", ["local", "sagemaker"])
@pytest.mark.parametrize("method", METHODS)
def test_goes_on_after_a_kill_as_if_nothing_had_happened(tmp_path, method, profile):
    experiment = small_experiment(
        **METHODS[method], profile=profile, bounds={"max_wallclock_time": 2500.0}
    )
    whole = journal_of(experiment, tmp_path)
    assert len(whole) > 10_000
    for cut in random.Random(1).sample(range(len(whole)), CUTS):
        (tmp_path / JOURNAL).write_bytes(whole[:cut])
        (tmp_path / RESULTS).unlink()
        assert journal_of(experiment, tmp_path) == whole, f"cut at byte {cut}"


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("cluster", ["faults", "diverging", "late reports"])
def test_every_trial_has_a_story(tmp_path, method, cluster):
    experiment = small_experiment(**METHODS[method], **CLUSTERS[cluster])
    run_experiment(experiment, tmp_path)
    trials = read_metadata(tmp_path)["n_trials"]
    assert trials > 8
    for trial in range(trials):
        assert explain(tmp_path, trial)
