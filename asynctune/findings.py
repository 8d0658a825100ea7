"""What a study shows, in plain words that are computed from its data.

A sentence is there only if the study has the experiments for it. How sure it is comes from
the bootstrap over seeds: a difference is called clear if it holds in at least 97.5 % of the
resamples, probable from 90 % on, and otherwise the two cannot be told apart. Where two
setups ran the same seeds, these are resampled together. With three or four seeds nothing is
called clear: that all of them point the same way has a chance of 1/8 or 1/16 by luck alone.
"""

import math
from collections.abc import Sequence

import numpy as np
import polars as pl

from asynctune.aggregate import (
    LEVEL,
    Vector,
    horizon,
    iqm,
    iqm_band,
    probability_lower,
    reach,
    run_losses,
    speed_up_band,
)
from asynctune.results import Setup, Study
from asynctune.table import (
    best_reports,
    decimals,
    default_losses,
    format_seconds,
    round_to_worse,
)
from asynctune.wording import plural

_CLEAR, _PROBABLE = 0.975, 0.9
_FEWEST_SEEDS = 3
"""Below this number of seeds the bootstrap says nothing."""
_SEEDS_FOR_CLEAR = 5
_LITTLE = 0.1
"""If workers train for less than this share of their time, the rest is what is simulated."""


def findings(study: Study) -> list[str]:
    """Return the study's findings, one sentence or two each, most asked-for first.

    They are: whether a clever method with few workers beats a plain one with many, and at
    what share of the cost; which method is best for each budget; how much faster each method
    gets to a loss with more workers; the cheapest and the fastest way to a hard loss; and
    what to keep in mind about the data.
    """
    told = [
        *_few_against_many(study),
        *_best_by_budget(study),
        *_speed_ups(study),
        *_cheapest(study),
        *_reservations(study),
    ]
    return [sentence[0].upper() + sentence[1:] for sentence in told]


def _few_against_many(study: Study) -> list[str]:
    """Compare BO (or the cleverest method there is) with few workers and RS with many."""
    few, many = min(study.worker_counts), max(study.worker_counts)
    plain = Setup(study.methods[0], many)
    cleverest = "BO" if "BO" in study.methods[1:] else study.methods[-1]
    clever = Setup(cleverest, few)
    if few == many or clever.method == plain.method or not {plain, clever} <= study.runs.keys():
        return []
    when = min(horizon(study.runs[setup]) for setup in (clever, plain))
    losses = [run_losses(study.runs[setup], when) for setup in (clever, plain)]
    centres = [float(iqm(of_setup)) for of_setup in losses]
    if not np.isfinite(centres).all():
        return []
    sure = _probability(study, clever, plain, when)
    if sure is None and _value(study, centres[0]) != _value(study, centres[1]):
        word = "is better than" if centres[0] < centres[1] else "is not better than"
    elif sure is None or max(sure, 1 - sure) < _PROBABLE:
        word = "cannot be told from"
    else:
        side = "better" if sure > 0.5 else "worse"
        word = f"is {_certainty(study, sure, clever, plain)} {side} than"
    text = (
        f"{_name(clever)} {word} {_name(plain)} after {format_seconds(when)}: "
        f"{study.metric} {_value(study, centres[0])} against {_value(study, centres[1])}"
    )
    if sure is not None:
        text += f" (better in {_percent(sure)} of bootstrap resamples)"
    return [f"{text}, at {_share(study, clever, plain, when)}."]


def _share(study: Study, first: Setup, second: Setup, seconds: float) -> str:
    """Return what `first` costs by `seconds`, as a share of what `second` does."""
    costs = study.cost_at(first, seconds), study.cost_at(second, seconds)
    if costs[0] is None or costs[1] is None:
        return f"{_percent(first.n_workers / second.n_workers)} of the worker hours"
    return f"{_percent(costs[0] / costs[1])} of the cost (${costs[0]:.2f} against ${costs[1]:.2f})"


def _best_by_budget(study: Study) -> list[str]:
    """Say for each number of workers which method is best, at each time that setups end at."""
    told = []
    for workers in study.worker_counts:
        setups = [setup for setup in study.runs if setup.n_workers == workers]
        if len(setups) < 2:
            continue
        own = min(horizon(study.runs[setup]) for setup in setups)
        for when in sorted({min(study.common_seconds, own), own}):
            told += _ranking(study, setups, when)
    return told


def _ranking(study: Study, setups: Sequence[Setup], when: float) -> list[str]:
    """Say which of `setups`, all with the same number of workers, is best at `when`."""
    losses = {setup: run_losses(study.runs[setup], when) for setup in setups}
    centres = {setup: float(iqm(losses[setup])) for setup in setups}
    ordered = sorted(setups, key=lambda setup: centres[setup])
    best, second = ordered[:2]
    if not math.isfinite(centres[best]):
        return []
    workers = best.n_workers
    where = f"with {workers} worker{'s' if workers > 1 else ''} after {format_seconds(when)}"
    shown = f"{study.metric} {_value(study, centres[best])}{_band(study, losses[best])}"
    if not math.isfinite(centres[second]):
        return [f"{where} only {best.method} has a value: {shown}."]
    other = f"{second.method} ({_value(study, centres[second])})"
    sure = {setup: _probability(study, best, setup, when) for setup in ordered[1:]}
    beats = sure[second]
    if beats is None:
        level = [s for s in ordered if _value(study, centres[s]) == _value(study, centres[best])]
        if len(level) > 1:
            names = _listed([setup.method for setup in level])
            return [f"{where} {names} cannot be told apart: {shown} each."]
        return [f"{where} {best.method} is best: {shown}, before {other}."]
    close = [setup for setup, p in sure.items() if p is not None and p < _PROBABLE]
    if not close:
        ahead = f"{_certainty(study, beats, best, second)} ahead of {second.method}"
        odds = f"({_value(study, centres[second])}; in {_percent(beats)} of bootstrap resamples)"
        return [f"{where} {best.method} is best: {shown}, {ahead} {odds}."]
    names = _listed([setup.method for setup in (best, *close)])
    values = _listed([shown, *(_value(study, centres[setup]) for setup in close)])
    chances = _listed([f"{100 * (sure[setup] or 0.0):.0f}" for setup in close])
    odds = f"{best.method} is ahead in {chances} % of bootstrap resamples"
    return [f"{where} {names} cannot be told apart: {values}; {odds}."]


def _speed_ups(study: Study) -> list[str]:
    """Say for each method how much sooner more workers get to the same loss."""
    told = []
    for method in study.methods:
        setups = sorted(setup for setup in study.runs if setup.method == method)
        if len(setups) < 2:
            continue
        ends = [run_losses(study.runs[setup], horizon(study.runs[setup])) for setup in setups]
        # A loss that every seed reaches, whatever the number of workers, so that the ratios
        # are known; if some have no value at all, one that most reach.
        hardest = max(float(of_setup.max()) for of_setup in ends)
        if not math.isfinite(hardest):
            hardest = max(float(np.median(of_setup)) for of_setup in ends)
        if not math.isfinite(hardest):
            continue
        level = round_to_worse(study, hardest)
        found = [reach(study.runs[setup], study.sign * level) for setup in setups]
        first = found[0]
        parts = [f"{format_seconds(first.median)} with {_workers(setups[0])}"]
        for setup, one in zip(setups[1:], found[1:], strict=True):
            ratio = first.median / max(one.median, 1e-9)
            band = _ratio_band(study, setups[0], setup, first.times, one.times)
            parts.append(
                f"{format_seconds(one.median)} with {setup.n_workers} ({ratio:.1f} times as "
                f"fast{band})"
            )
        told.append(
            f"{method} reaches {study.metric} {_plain(study, level)}, in the median over seeds, "
            f"in {_listed(parts)}."
        )
    return told


def _ratio_band(study: Study, slow: Setup, fast: Setup, times: Vector, others: Vector) -> str:
    """Return the band of a speed-up in words, or nothing if there are too few seeds."""
    if min(len(times), len(others)) < _FEWEST_SEEDS:
        return ""
    low, high = speed_up_band(times, others, paired=study.paired(slow, fast))
    if not math.isfinite(high):
        return f"; {LEVEL * 100:.0f} % band {low:.1f} or more"
    return f"; {LEVEL * 100:.0f} % band {low:.1f} to {high:.1f}"


def _cheapest(study: Study) -> list[str]:
    """Name the cheapest and the fastest setup that get to the hardest of the table's losses."""
    levels = default_losses(study)
    if not levels or len(study.runs) < 2:
        return []
    found = {setup: reach(runs, study.sign * levels[-1]) for setup, runs in study.runs.items()}
    there = [setup for setup in found if math.isfinite(found[setup].median)]
    priced = all(study.cost_at(setup, 1.0) is not None for setup in there)

    def spent(setup: Setup) -> float:
        cost = study.cost_at(setup, found[setup].median) if priced else None
        return setup.n_workers * found[setup].median / 3600 if cost is None else cost

    def price(setup: Setup) -> str:
        return f"${spent(setup):.2f}" if priced else f"{spent(setup):.1f} worker hours"

    def time(setup: Setup) -> str:
        return format_seconds(found[setup].median)

    def told(setups: Sequence[Setup]) -> str:
        names = []
        for setup in setups:
            share = f"{found[setup].reached} of {plural(len(study.runs[setup]), 'seed')}"
            names.append(f"{_name(setup)} ({time(setup)}, {price(setup)}; {share})")
        return _listed(names)

    def ways(kind: str, setups: Sequence[Setup]) -> str:
        way = f"way to {goal} is" if len(setups) == 1 else f"ways to {goal} are"
        return f"the {kind} {way} {told(setups)}"

    if len(there) < 2:
        return []
    goal = f"{study.metric} {_plain(study, levels[-1])}"
    # What is told by the same figures is named side by side.
    least, first = price(min(there, key=spent)), time(min(there, key=lambda s: found[s].median))
    cheapest = [setup for setup in there if price(setup) == least]
    fastest = [setup for setup in there if time(setup) == first]
    both = [setup for setup in cheapest if setup in fastest]
    seeds = max(len(study.runs[setup]) for setup in there)
    of = "medians over seeds" if seeds > 1 else "in the only seed"
    if both:
        return [f"{ways('cheapest and fastest', both)}, {of}."]
    return [f"{ways('cheapest', cheapest)}, the fastest {told(fastest)}, {of}."]


def _reservations(study: Study) -> list[str]:
    """Say what to keep in mind: few seeds, extrapolation, what is missing."""
    told = []
    fewest = min(len(runs) for runs in study.runs.values())
    if fewest < _FEWEST_SEEDS:
        told.append(
            f"with {fewest} seed{'s' if fewest > 1 else ''} nothing can be said about "
            "uncertainty; what looks better here may be chance."
        )
    told += _start_up(study)
    best = best_reports(study)
    if "source" in best.columns:
        beyond = best.filter(pl.col("source") == "extrapolated").height
        if beyond:
            told.append(
                f"in {beyond} of {len(study.metadata)} experiments the best value is "
                "extrapolated: it lies outside what was recorded of real trainings."
            )
    if study.incomplete:
        told.append(f"left out because not complete: {', '.join(study.incomplete)}.")
    return told


def _start_up(study: Study) -> list[str]:
    """Say so if simulated workers did little but start and stop, as with fast trainings."""
    simulated = study.metadata.filter(
        pl.col("backend") == "simulated", pl.col("training_share").is_not_null()
    )
    training, busy = (float(simulated[n].sum()) for n in ("training_share", "utilisation"))
    if training >= _LITTLE * busy:
        return []
    profiles = _listed(simulated["profile"].unique().sort().to_list())
    other = "" if "local" in profiles else "--profile local or "
    said = (
        f"training took {_percent(training / busy)} of the time that workers were busy, start and "
        f"stop the rest, as the profile {profiles} has it; another study with {other}--set "
        "startup_delay=SECONDS tells of other machines."
    )
    return [said]


def _probability(study: Study, first: Setup, second: Setup, when: float) -> float | None:
    """Return how probably `first` is better than `second` at `when`; None for too few seeds."""
    losses = [run_losses(study.runs[setup], when) for setup in (first, second)]
    if min(len(of_setup) for of_setup in losses) < _FEWEST_SEEDS:
        return None
    return probability_lower(*losses, paired=study.paired(first, second))


def _certainty(study: Study, probability: float, *setups: Setup) -> str:
    """Return "clearly" or "probably"."""
    seeds = min(len(study.runs[setup]) for setup in setups)
    sure = max(probability, 1 - probability) >= _CLEAR and seeds >= _SEEDS_FOR_CLEAR
    return "clearly" if sure else "probably"


def _name(setup: Setup) -> str:
    return f"{setup.method} with {_workers(setup)}"


def _workers(setup: Setup) -> str:
    return f"{setup.n_workers} worker{'s' if setup.n_workers > 1 else ''}"


def _value(study: Study, loss: float) -> str:
    """Return a loss as the metric's value, with as many decimals as tell setups apart."""
    return f"{study.sign * loss:.{decimals(study)}f}"


def _plain(study: Study, value: float) -> str:
    """Return a round value of the metric."""
    return f"{value:.{max(decimals(study) - 1, 0)}f}"


def _band(study: Study, losses: Vector) -> str:
    """Return the bootstrap band of the IQM in brackets, or nothing if there are too few seeds."""
    if len(losses) < _FEWEST_SEEDS:
        return ""
    low, high = sorted(study.sign * float(side[0]) for side in iqm_band(losses[:, None]))
    ends = f"{_value(study, study.sign * low)} to {_value(study, study.sign * high)}"
    return f" ({LEVEL * 100:.0f} % band {ends})"


def _listed(parts: Sequence[str]) -> str:
    """Return "a, b and c"."""
    return ", ".join(parts[:-1]) + " and " + parts[-1] if len(parts) > 1 else parts[0]


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
