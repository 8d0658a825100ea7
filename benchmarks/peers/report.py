"""What a benchmark says in the end: tables on the terminal, and figures in a file."""

import json
import os
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table in Markdown, the first column aligned left and the others right.

    Args:
        header: Names of the columns, at least one.
        rows: Cells, as many a row as there are columns.
    """
    for row in rows:
        if len(row) != len(header):
            raise ValueError(f"a row must have {len(header)} cells; got {list(row)}")
    widths = [max(3, *map(len, column)) for column in zip(header, *rows, strict=True)]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    lines = [_line(header, widths), _line(rule, widths), *(_line(row, widths) for row in rows)]
    return "\n".join(lines)


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *others = zip(cells, widths, strict=True)
    padded = [first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in others)]
    return f"| {' | '.join(padded)} |"


def host() -> dict[str, Any]:
    """Return what figures depend on besides the code."""
    return {
        "machine": platform.machine(),
        "system": platform.system(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "numpy": version("numpy"),
        "scipy": version("scipy"),
        "asynctune": version("asynctune"),
    }


def write_json(path: Path | None, figures: Mapping[str, Any]) -> None:
    """Write the figures and the host to a file, if there is to be one."""
    if path is not None:
        path.write_text(json.dumps({"host": host(), **figures}, indent=2) + "\n")
