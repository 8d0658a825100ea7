import re

import pytest
from synthetic_study import write_experiment, write_study

from asynctune.findings import findings
from asynctune.results import load_study


def study_of(folder, ends, *, seeds=5, spread=0.1, seconds=None, sign=1, **metadata):
    """Make a study in which (method, n_workers) gets to `ends` at 40,000 s / n_workers.

    Seeds differ by `spread`, the same way in all setups. On the way there, at half that time,
    the loss is 9.
    """
    for (method, workers), end in ends.items():
        for seed in range(seeds):
            budget = (seconds or {}).get(workers, 36000.0 if workers == 2 else 18000.0)
            half = 20000 / workers
            write_experiment(
                folder / "tag" / f"{method}-{workers}w-{seed}",
                {
                    "tuner_time": [half, 2 * half],
                    "val_loss": [sign * 9.0, sign * (end + spread * seed)],
                    "source": ["recorded", "recorded"],
                },
                method=method,
                n_workers=workers,
                seed=seed,
                max_wallclock_time=budget,
                experiment_seconds=budget,
                mode="min" if sign == 1 else "max",
                **{"total_cost_usd": 1.0 * workers * budget / 3600} | metadata,
            )
    return load_study("tag", folder)


def one(sentences, pattern):
    (found,) = [sentence for sentence in sentences if re.search(pattern, sentence)]
    return found


ENDS = {
    ("RS", 2): 7.0,
    ("RS", 8): 6.5,
    ("BO", 2): 5.5,
    ("BO", 8): 5.2,
}


def test_few_workers_against_many(tmp_path):
    sentence = findings(study_of(tmp_path, ENDS))[0]
    # BO with 2 workers gets to its end at 20,000 s, which is after 18,000 s.
    assert sentence == (
        "BO with 2 workers is clearly worse than RS with 8 workers after 5 h: val_loss 9.00 "
        "against 6.70 (better in 0 % of bootstrap resamples), at 25 % of the cost "
        "($10.00 against $40.00)."
    )


def test_few_workers_may_win(tmp_path):
    longer = {2: 72000.0, 8: 36000.0}
    sentence = findings(study_of(tmp_path, ENDS, seconds=longer))[0]
    assert "BO with 2 workers is clearly better than RS with 8 workers after 10 h" in sentence
    assert "5.70 against 6.70 (better in 100 %" in sentence
    assert "at 25 % of the cost" in sentence


def test_with_few_seeds_nothing_is_clear(tmp_path):
    sentences = findings(study_of(tmp_path, ENDS, seeds=4))
    assert "BO with 2 workers is probably worse than RS" in sentences[0]
    assert not any("clearly" in sentence for sentence in sentences)


def test_what_is_close_cannot_be_told_apart(tmp_path):
    for seed, (rs, bo) in enumerate([(6.1, 6.4), (6.5, 6.0), (6.2, 6.3), (6.3, 6.1), (6.0, 6.2)]):
        for method, value in (("RS", rs), ("BO", bo)):
            columns = {"tuner_time": [60.0], "val_loss": [value]}
            folder = tmp_path / "tag" / f"{method}-4w-{seed}"
            write_experiment(folder, columns, method=method, seed=seed)
    sentence = one(findings(load_study("tag", tmp_path)), "With 4 workers after 5 h")
    assert sentence == (
        "With 4 workers after 5 h RS and BO cannot be told apart: val_loss 6.20 (95 % band 6.03 "
        "to 6.44) and 6.20; RS is ahead in 52 % of bootstrap resamples."
    )


def test_few_workers_may_do_as_well_as_many(tmp_path):
    for seed, (rs, bo) in enumerate([(6.1, 6.4), (6.5, 6.0), (6.2, 6.3), (6.3, 6.1), (6.0, 6.2)]):
        for method, workers, value in (("RS", 8, rs), ("BO", 2, bo)):
            write_experiment(
                tmp_path / "tag" / f"{method}-{workers}w-{seed}",
                {"tuner_time": [60.0], "val_loss": [value]},
                method=method,
                n_workers=workers,
                seed=seed,
            )
    assert findings(load_study("tag", tmp_path))[0].startswith(
        "BO with 2 workers cannot be told from RS with 8 workers after 5 h: val_loss 6.20 "
        "against 6.20 (better in 48 % of bootstrap resamples)"
    )


def test_without_a_price_there_are_worker_hours(tmp_path):
    sentences = findings(study_of(tmp_path, ENDS, total_cost_usd=None))
    assert sentences[0].endswith("at 25 % of the worker hours.")
    assert not any("$" in sentence for sentence in sentences)
    assert "worker hours" in one(sentences, "heapest")


def test_best_method_by_budget(tmp_path):
    sentences = findings(study_of(tmp_path, ENDS | {("ASHA", 8): 6.0}))
    assert one(sentences, "With 8 workers after 5 h") == (
        "With 8 workers after 5 h BO is best: val_loss 5.40 (95 % band 5.23 to 5.57), clearly "
        "ahead of ASHA (6.20; in 100 % of bootstrap resamples)."
    )
    assert "BO is best: val_loss 5.70" in one(sentences, "With 2 workers after 10 h")


def test_speed_up(tmp_path):
    sentences = findings(study_of(tmp_path, {("RS", w): 6.0 for w in (2, 4, 8)}, spread=0.01))
    assert one(sentences, "RS reaches") == (
        "RS reaches val_loss 6.1, in the median over seeds, in 5.6 h with 2 workers, "
        "2.8 h with 4 (2.0 times as fast; 95 % band 2.0 to 2.0) and 1.4 h with 8 (4.0 times as "
        "fast; 95 % band 4.0 to 4.0)."
    )
    assert not any("BO" in sentence for sentence in sentences)


def test_cheapest_and_fastest(tmp_path):
    ends = {("BO", 2): 5.0, ("BO", 8): 5.0, ("RS", 2): 7.0}
    sentence = one(findings(study_of(tmp_path, ends, seconds={2: 36000.0, 8: 36000.0})), "heapest")
    # Both cost 11.11 $; then the faster one is named.
    assert "cheapest and fastest way to val_loss 5." in sentence
    assert "BO with 8 workers (1.4 h, $11.11; 3 of 5 seeds)" in sentence


def test_a_metric_to_maximise(tmp_path):
    sentences = findings(study_of(tmp_path, ENDS, sign=-1))
    assert "val_loss -9.00 against -6.70" in sentences[0]
    assert "BO is best: val_loss -5.40 (95 % band -5." in one(sentences, "With 8 workers")
    assert re.search(r"BO reaches val_loss -5\.9", " ".join(sentences))


def test_single_seed_claims_nothing(tmp_path):
    sentences = findings(study_of(tmp_path, ENDS, seeds=1))
    assert not any(re.search(r"clearly|probably|bootstrap|band", s) for s in sentences)
    assert sentences[0].startswith("BO with 2 workers is not better than RS with 8")
    assert one(sentences, "heapest").endswith("of 1 seed), in the only seed.")
    assert sentences[-1].startswith("With 1 seed nothing can be said about uncertainty")


def test_what_has_the_same_figures_is_not_told_apart(tmp_path):
    ends = {("RS", 2): 6.0, ("BO", 2): 6.00001, ("ASHA", 2): 6.4}
    study = study_of(tmp_path, ends | {("RS", 8): 6.0, ("BO", 8): 7.0}, seeds=1)
    sentences = findings(study)
    assert "With 2 workers after 10 h RS and BO cannot be told apart: val_loss 6.00 each." in (
        sentences
    )
    assert "With 8 workers after 5 h RS is best: val_loss 6.00, before BO (7.00)." in sentences
    assert one(sentences, "heapest") == (
        "The cheapest and fastest ways to val_loss 7.0 are RS with 8 workers (1.4 h, $11.11; 1 of "
        "1 seed) and BO with 8 workers (1.4 h, $11.11; 1 of 1 seed), in the only seed."
    )


def test_few_workers_as_good_as_many_in_one_seed(tmp_path):
    ends = {("RS", 8): 6.0, ("BO", 2): 6.0}
    study = study_of(tmp_path, ends, seeds=1, seconds={2: 36000.0, 8: 36000.0})
    assert findings(study)[0].startswith("BO with 2 workers cannot be told from RS with 8 workers")


@pytest.mark.parametrize(("share", "said"), [(0.05, True), (0.2, False), (None, False)])
def test_trainings_lost_beside_start_up_are_pointed_out(tmp_path, share, said):
    study = study_of(tmp_path, ENDS, training_share=share)
    sentences = [s for s in findings(study) if "--profile local" in s]
    assert bool(sentences) == said
    if said:
        assert "took 5 % of the time that workers were busy" in sentences[0]
        assert "as the profile sagemaker has it" in sentences[0]


def test_one_setup_alone_compares_nothing(tmp_path):
    assert findings(study_of(tmp_path, {("RS", 4): 6.0})) == []


def test_other_pairings(tmp_path):
    sentences = findings(study_of(tmp_path, {("ASHA", 8): 6.0, ("MOBSTER", 2): 5.0}))
    assert sentences[0].startswith("MOBSTER with 2 workers is clearly worse than ASHA with 8")


def test_without_values_nothing_is_said(tmp_path):
    for method in ("RS", "BO"):
        for workers in (2, 8):
            write_experiment(
                tmp_path / "tag" / f"{method}-{workers}w-0",
                {"tuner_time": [10.0], "val_loss": [float("nan")]},
                method=method,
                n_workers=workers,
            )
    (sentence,) = findings(load_study("tag", tmp_path))
    assert sentence.startswith("With 1 seed nothing can be said")


def test_a_method_without_values_loses(tmp_path):
    study_of(tmp_path, {("RS", 8): 6.5})
    for seed in range(5):
        columns = {"tuner_time": [10.0], "val_loss": [float("inf")]}
        write_experiment(
            tmp_path / "tag" / f"BO-8w-{seed}", columns, method="BO", n_workers=8, seed=seed
        )
    sentences = findings(load_study("tag", tmp_path))
    assert one(sentences, "only").startswith("With 8 workers after 5 h only RS has a value: ")
    assert not any("inf" in sentence for sentence in sentences)


def test_reservations(tmp_path):
    write_study(tmp_path / "tag", methods=("RS", "BO"), n_workers=(2, 8), seeds=3, trials=5)
    (tmp_path / "tag" / "RS-8w-9").mkdir()
    (tmp_path / "tag" / "RS-8w-9" / "journal.jsonl").touch()
    sentences = findings(load_study("tag", tmp_path))
    assert "of 12 experiments the best value is extrapolated" in one(sentences, "extrapolated")
    assert sentences[-1] == "Left out because not complete: RS-8w-9."


@pytest.mark.parametrize("methods", [("RS",), ("BO", "ASHA"), ("RS", "BO", "ASHA", "MOBSTER")])
@pytest.mark.parametrize("n_workers", [(4,), (2, 4, 8)])
def test_sentences_are_sentences(tmp_path, methods, n_workers):
    write_study(tmp_path / "tag", methods=methods, n_workers=n_workers, trials=3)
    for sentence in findings(load_study("tag", tmp_path)):
        assert sentence[0].isupper()
        assert sentence.endswith(".")
        assert not re.search(r"nan|inf\b|None|  ", sentence)
