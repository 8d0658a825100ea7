"""How far the blackbox can be trusted: `python -m sims.transformer_wikitext2.validate`.

Two questions. How well does the surrogate predict a config that it has not seen? And does a
simulation with the original's own configs end where the original did?
"""

import json
import os
import time
from collections.abc import Sequence
from pathlib import Path

import click
import numpy as np

from sims.transformer_wikitext2 import pictures
from sims.transformer_wikitext2.collected import all_recorded
from sims.transformer_wikitext2.crossvalidation import (
    CHECKED,
    EpochScore,
    LeftOut,
    coverage,
    cross_validate,
    score,
)
from sims.transformer_wikitext2.paired import Comparison, compare_all

WORST = 10
FEWEST = 3  # configs with which an epoch is scored


def summary(
    left_out: LeftOut, scores: Sequence[EpochScore], comparisons: Sequence[Comparison]
) -> dict[str, float]:
    """Return the figures of merit by their names."""
    by_epoch = {s.epoch: s for s in scores}
    first, last = by_epoch[1], by_epoch[40]

    def errors(study: str, method: str, *n_workers: int) -> list[float]:
        return [
            float(error)
            for c in comparisons
            if (c.study, c.method) == (study, method) and c.n_workers in n_workers
            for error in np.abs(c.error)
        ]

    return {
        "loo_final_median": last.median,
        "loo_final_trimmed_mean": last.trimmed_mean,
        "loo_final_spearman": last.spearman,
        "loo_epoch1_median": first.median,
        "loo_epoch1_trimmed_mean": first.trimmed_mean,
        "loo_coverage_90": coverage(left_out),
        "paired_rs_sagemaker_mae": float(np.mean(errors("sagemaker", "RS", 4, 8))),
        "paired_rs_sagemaker_2w_end_error": errors("sagemaker", "RS", 2)[-1],
        "paired_rs_local_mae": float(np.mean(errors("local", "RS", 4))),
        "paired_asha_local_mae": float(np.mean(errors("local", "ASHA", 4))),
    }


@click.command()
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write figures here.")
@click.option(
    "--pictures",
    "folder",
    type=click.Path(path_type=Path),
    default=Path("results/surrogate"),
    show_default=True,
    help="Folder for the pictures.",
)
@click.option("--folds", default=10, show_default=True, help="Times that everything is refitted.")
@click.option("--jobs", default=os.cpu_count() or 1, show_default="all cores", help="Processes.")
def main(json_file: Path | None, folder: Path, folds: int, jobs: int) -> None:
    """Cross-validate the surrogate and compare simulations with what was published."""
    # One thread a process: more of them are slower here, and change the last bits.
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    began = time.perf_counter()
    left_out = cross_validate(all_recorded(), folds, jobs)
    scores = _scores(left_out)
    click.echo("Configs left out in turn (absolute errors of the loss)")
    _echo_scores(scores)
    for source, part in by_source(left_out).items():
        click.echo(f"\nOf these the {source} curves")
        _echo_scores(_scores(part))
    _echo_worst(left_out)
    comparisons = compare_all()
    click.echo("\nThe original's own configs, simulated less published")
    for c in comparisons:
        click.echo(
            f"{c.study:9} {c.method:4} {c.n_workers} workers: {len(c.error):3} rows, mean "
            f"absolute error {np.abs(c.error).mean():.4f}, at the end {c.error[-1]:+.4f}"
        )
    folder.mkdir(parents=True, exist_ok=True)
    written = [
        *pictures.save(pictures.left_out_chart(left_out), folder / "left-out"),
        *pictures.save(pictures.errors_chart(left_out), folder / "errors"),
        *pictures.save(pictures.paired_chart(comparisons), folder / "paired"),
    ]
    click.echo("\n" + "\n".join(str(path) for path in written))
    figures = summary(left_out, scores, comparisons)
    for source, part in by_source(left_out).items():
        figures |= {f"loo_median_{s.epoch}_{source}": s.median for s in _scores(part)}
    if json_file is not None:
        json_file.parent.mkdir(parents=True, exist_ok=True)
        json_file.write_text(json.dumps(figures, indent=2) + "\n")
    click.echo("\n" + "\n".join(f"{name} {value:.4f}" for name, value in figures.items()))
    click.echo(f"in {time.perf_counter() - began:.0f} s")


def by_source(left_out: LeftOut) -> dict[str, LeftOut]:
    """Return the predictions by where the curves come from; none if all are published."""
    collected = left_out.recorded.collected
    if not collected.any():
        return {}
    return {"published": left_out.only(~collected), "collected": left_out.only(collected)}


def _scores(left_out: LeftOut) -> list[EpochScore]:
    """Return the scores at the checked epochs that some configs have come to."""
    n = np.isfinite(left_out.recorded.loss).sum(axis=0)
    return [score(left_out, epoch) for epoch in CHECKED if n[epoch - 1] >= FEWEST]


def _echo_scores(scores: Sequence[EpochScore]) -> None:
    click.echo("epoch configs    mean  median trimmed  rank corr  90 % band")
    for s in scores:
        click.echo(
            f"{s.epoch:5} {s.configs:7} {s.mean:7.4f} {s.median:7.4f} {s.trimmed_mean:7.4f}"
            f" {s.spearman:10.4f} {s.coverage_90:10.3f}"
        )


def _echo_worst(left_out: LeftOut) -> None:
    error = np.where(np.isnan(left_out.error), -1, left_out.error)
    worst = np.argsort(-error.max(axis=1), kind="stable")[:WORST]
    click.echo(f"\nThe {WORST} worst curves, where they are worst")
    for i in worst.tolist():
        at = int(error[i].argmax())
        lr, dropout, batch_size, momentum, clip = left_out.recorded.configs[i]
        copies = ", ".join(c.label for c in left_out.recorded.readings[i])
        click.echo(
            f"epoch {at + 1:2}: recorded {left_out.recorded.loss[i, at]:7.3f}, predicted "
            f"{left_out.mean[i, at]:7.3f} +- {left_out.deviation[i, at]:.3f}; lr {lr:.2e}, "
            f"dropout {dropout:.3f}, batch size {batch_size:.0f}, momentum {momentum:.3f}, "
            f"clip {clip:.3f} ({copies})"
        )


if __name__ == "__main__":
    main()
