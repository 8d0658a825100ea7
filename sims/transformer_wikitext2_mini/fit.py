"""Fit the surrogate to the recorded curves, and say how well it predicts what it has not seen.

python -m sims.transformer_wikitext2_mini.fit [--show]
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Final

from sims.curvefit.crossvalidation import leave_one_out, report, sources_of
from sims.curvefit.fit import Fit, fit
from sims.curvefit.store import write_surrogate
from sims.transformer_wikitext2_mini import SURROGATE, TRAINING, recorded_curves

_MODE: Final = "min"


def fitted() -> Fit:
    """Return the surrogate fitted to the table that comes with the package."""
    return fit(recorded_curves(), _MODE, TRAINING["epochs"])


def lines(found: Fit) -> Iterator[str]:
    """Yield what is printed: the errors of each config predicted from all others."""
    yield "Errors of val_loss, each config predicted from all others"
    yield from report(found, leave_one_out(found), sources_of(found, recorded_curves().curves()))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit status."""
    parser = argparse.ArgumentParser(prog="fit", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--show", action="store_true", help="write nothing")
    values = parser.parse_args(arguments)
    found = fitted()
    sys.stdout.write("\n".join(lines(found)) + "\n")
    if not values.show:
        path = Path(str(files(__package__))) / "data" / SURROGATE
        write_surrogate(path, found.fitted.arrays())
        sys.stdout.write(f"wrote {path}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
