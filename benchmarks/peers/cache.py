"""Results of runs on disk, so that a long comparison can be made in pieces.

A result is kept under what it depends on: the code of the optimizer, and what the problem
answers. When one of these changes the run is made again.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from benchmarks.peers.problems import Problem
from benchmarks.peers.process import ENVIRONMENTS, ROOT, Peer
from benchmarks.peers.sampling import random_configs

CACHE: Final = ENVIRONMENTS / "cache"
_DIGITS: Final = 12
# Of asynctune, what proposals depend on.
_OURS: Final = ("gp", "searchers", "schedulers", "space", "asktell.py", "methods.py")


def code_of(peer: Peer) -> str:
    """Return a digest of an optimizer's code: ours, or the peer's pinned versions."""
    paths = []
    if peer.environment is None:
        for part in _OURS:
            path = ROOT / "asynctune" / part
            paths += sorted(path.rglob("*.py")) if path.is_dir() else [path]
    else:
        paths.append(Path(__file__).parent / "requirements" / f"{peer.environment}.txt")
    settings = json.dumps([peer.module, peer.method, dict(peer.options), peer.revision])
    return _digest(settings.encode(), *(path.read_bytes() for path in paths))


def answers_of(problem: Problem) -> str:
    """Return a digest of a problem: its space, and some of its values."""
    configs = random_configs(problem.parameters, 5, seed=0)
    values = [f"{problem.truth(config):.9g}" for config in configs]
    return _digest(repr((problem.parameters, problem.noise, values)).encode())


def cached(
    folder: Path, key: Mapping[str, Any], compute: Callable[[], dict[str, Any]] | None
) -> dict[str, Any] | None:
    """Return the result under `key`, computed now if there is none.

    Args:
        folder: Where results are kept.
        key: What the result depends on, JSON values; its "peer" and "problem" name the file.
        compute: Makes the result; None: do without.
    """
    path = folder / f"{key['peer']}-{key['problem']}-{_digest(json.dumps(key).encode())}.json"
    path = path.with_name(path.name.replace(" ", "-"))
    if path.exists():
        found: dict[str, Any] = json.loads(path.read_bytes())["result"]
        return found
    if compute is None:
        return None
    result = compute()
    folder.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".part")
    temporary.write_text(json.dumps({"key": key, "result": result}) + "\n")
    temporary.replace(path)
    return result


def _digest(*parts: bytes) -> str:
    found = hashlib.sha256()
    for part in parts:
        found.update(part)
    return found.hexdigest()[:_DIGITS]
