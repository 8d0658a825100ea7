"""A study beside what was published: `python -m sims.transformer_wikitext2.compare TAG`.

Every published value is an interquartile mean over five seeds, and so left to chance. So it is
compared with the band in which 95 % of such means of ours would lie. Below the band, ours is
worse by more than chance; above it, better. The rows of one setup depend on one another: a
lucky config at 5,000 s is still there at 10,000 s.
"""

import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import click

from asynctune.exceptions import UsageError
from asynctune.results import Study, load_study
from sims.transformer_wikitext2._compare_claims import (
    FEW,
    MANY,
    WHEN,
    FewBeatMany,
    MoreWorkers,
    few_beat_many,
    more_workers,
)
from sims.transformer_wikitext2._compare_rows import (
    ENOUGH_SEEDS,
    PUBLISHED_SEEDS,
    Row,
    Summary,
    rows_of,
    summary_of,
)
from sims.transformer_wikitext2.recorded import table

BENCHMARK, PROFILE = "transformer_wikitext2", "sagemaker"
_EVERY = 2_500  # seconds between the rows that are printed; all are in the summaries
_ENDS = (18_000, 36_000)
_BAD_INPUT = 2
_CAUTIONS = (
    "Published ASHA and MOBSTER lost reports after each resume, so better is expected of ours.",
    "Published RS with 2 workers lags before 17,000 s, as if a first trial had been lost or late.",
    "Published values are read off figures, to 0.02 in loss and 60 s in time.",
)


class Comparison(NamedTuple):
    """A study beside the published rows.

    Attributes:
        rows: Every published row that we have a counterpart of, setups in order.
        summaries: One a setup.
        few_beat_many: BO with 2 workers against RS with 8; None if the study cannot say.
        more_workers: One a method and pair of numbers of workers.
    """

    rows: tuple[Row, ...]
    summaries: tuple[Summary, ...]
    few_beat_many: FewBeatMany | None
    more_workers: tuple[MoreWorkers, ...]


def compare(study: Study) -> Comparison:
    """Return `study` beside all published rows, which are 250 s apart.

    Raises:
        UsageError: If the study is of another benchmark or cluster profile, or has no setup
            that was published.
    """
    for name, wanted in (("benchmark", BENCHMARK), ("profile", PROFILE)):
        found = study.metadata[name].unique(maintain_order=True).to_list()
        if found != [wanted]:
            raise UsageError(f"a study must have the {name} {wanted!r}; {study.tag} has {found}")
    published = _published()
    rows: list[Row] = []
    summaries = []
    for setup, runs in study.runs.items():
        of_setup = rows_of(*setup, runs, published.get(setup, ()))
        if of_setup:
            rows += of_setup
            summaries.append(summary_of(of_setup, len(runs)))
    if not rows:
        raise UsageError(
            "a study must have a method and a number of workers that were published; "
            f"{study.tag} has {', '.join(f'{s.method} with {s.n_workers}' for s in study.runs)}"
        )
    return Comparison(
        tuple(rows), tuple(summaries), few_beat_many(study), tuple(more_workers(study))
    )


def as_json(comparison: Comparison, study: Study) -> dict[str, Any]:
    """Return everything as JSON values; what is not finite is null."""
    claim = comparison.few_beat_many
    return {
        "tag": study.tag,
        "published_seeds": PUBLISHED_SEEDS,
        "rows": [
            _finite(row._asdict() | {"difference": row.difference}) for row in comparison.rows
        ],
        "summaries": [_finite(summary._asdict()) for summary in comparison.summaries],
        "bo_2_workers_below_rs_8_workers": (
            None if claim is None else _finite(claim._asdict() | {"holds": claim.holds})
        ),
        "more_workers_never_worse": [
            _finite(pair._asdict() | {"holds": pair.holds}) for pair in comparison.more_workers
        ],
    }


@click.command()
@click.argument("tag")
@click.option(
    "--results-dir",
    type=click.Path(path_type=Path),
    default=Path("results"),
    show_default=True,
    help="Folder that holds the studies.",
)
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write all rows here.")
def main(tag: str, results_dir: Path, json_file: Path | None) -> None:
    """Put the published values of four methods and 2, 4, 8 workers beside those of the study TAG.

    The study needs at least 5 seeds; about 20 make a band worth the name. Values 2,500 s apart
    are printed; the summaries and the JSON file have all of them, 250 s apart.
    """
    try:
        study = load_study(tag, results_dir)
        comparison = compare(study)
    except UsageError as error:
        click.echo(f"compare: {' '.join(str(error).split())}", err=True)
        raise SystemExit(_BAD_INPUT) from error
    lines = [
        *_row_lines(comparison.rows),
        "",
        *_summary_lines(comparison.summaries),
        "",
        *_claim_lines(comparison),
        "",
        *_CAUTIONS,
        *_advice(comparison.summaries, study),
    ]
    click.echo("\n".join(lines))
    if json_file is not None:
        json_file.parent.mkdir(parents=True, exist_ok=True)
        json_file.write_text(json.dumps(as_json(comparison, study), indent=2) + "\n")


def _published() -> dict[tuple[str, int], list[tuple[float, float]]]:
    """Return the published seconds and values by method and number of workers."""
    found: dict[tuple[str, int], list[tuple[float, float]]] = {}
    columns = ("method", "n_workers", "wallclock_s", "val_loss_iqm")
    frame = table("distributed_tuning").select(columns).sort(columns)
    for method, n_workers, seconds, value in frame.iter_rows():
        found.setdefault((method, n_workers), []).append((float(seconds), value))
    return found


def _row_lines(rows: Sequence[Row]) -> Iterable[str]:
    yield "method  workers  seconds  published    ours  95 % band of 5 seeds    diff  verdict"
    for row in rows:
        if row.wallclock_s % _EVERY and row.wallclock_s not in _ENDS:
            continue
        yield (
            f"{row.method:8}{row.n_workers:7}{row.wallclock_s:9.0f}{row.published:11.3f}"
            f"{row.expected:8.3f}     {row.low:7.3f} to {row.high:6.3f} {row.difference:+8.3f}"
            f"  {row.verdict}"
        )


def _summary_lines(summaries: Sequence[Summary]) -> Iterable[str]:
    yield "Ours less published, and share of all times when ours is outside the band"
    for s in summaries:
        text = f"{s.method} with {s.n_workers} workers, {s.n_seeds} seeds: "
        if s.n_seeds < PUBLISHED_SEEDS:
            yield f"{text}too few seeds for a band of {PUBLISHED_SEEDS}"
            continue
        text += (
            f"mean {s.mean_difference:+.3f}, worse {s.share_worse:.0%}, better {s.share_better:.0%}"
        )
        if s.worst_excess:
            text += f" (below the band by up to {s.worst_excess:.3f})"
        yield text + (" (sets drawn with replacement)" if s.replacement else "")


def _claim_lines(comparison: Comparison) -> Iterable[str]:
    claim = comparison.few_beat_many
    name = (
        f"{FEW.method} with {FEW.n_workers} workers is below {MANY.method} with "
        f"{MANY.n_workers} at {WHEN:,.0f} s"
    )
    if claim is None:
        yield f"[?] {name}: the study lacks one of them, 5 seeds, or the time"
    else:
        yield (
            f"{_mark(holds=claim.holds)} {name}: {claim.few:.3f} against {claim.many:.3f}, "
            f"in {claim.probability:.1%} of bootstrap resamples"
        )
    for pair in comparison.more_workers:
        text = (
            f"{_mark(holds=pair.holds)} {pair.method} with {pair.more} workers is never worse "
            f"than with {pair.fewer} by more than noise: {pair.mean_difference:+.3f} on average "
            f"over {pair.n_times} times"
        )
        if not pair.holds:
            at = ", ".join(f"{seconds:.0f}" for seconds in pair.worse_at[:5])
            more = ", ..." if len(pair.worse_at) > 5 else ""
            text += (
                f"; worse at {len(pair.worse_at)} ({at}{more} s), beyond noise by up to "
                f"{pair.largest_excess:.3f}"
            )
        yield text


def _mark(*, holds: bool) -> str:
    return "[yes]" if holds else "[NO] "


def _advice(summaries: Sequence[Summary], study: Study) -> Iterable[str]:
    """Say how to get more seeds, if any setup has too few."""
    fewest = min(s.n_seeds for s in summaries)
    if fewest >= ENOUGH_SEEDS:
        return
    counts = ",".join(map(str, study.worker_counts))
    yield (
        f"There are setups with {fewest} seeds only: what these seeds start with shifts all their "
        f"rows, so a verdict may be luck. About {ENOUGH_SEEDS} seeds make sense: asynctune "
        f"study --experiment-tag {study.tag} --benchmark {BENCHMARK} --n-workers {counts} "
        f"--method {','.join(study.methods)} --num-seeds {ENOUGH_SEEDS} --random-seed "
        f"{study.metadata['random_seed'][0]} --scale-max-wallclock-time 1 runs those missing."
    )


def _finite(values: dict[str, Any]) -> dict[str, Any]:
    return {
        key: None if isinstance(value, float) and not math.isfinite(value) else value
        for key, value in values.items()
    }


if __name__ == "__main__":
    main()
