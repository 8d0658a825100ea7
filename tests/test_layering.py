"""Imports point inward only, and what is pure touches no clock, no IO and no chance.

The rings are those of the architecture page: values; pure state machines; adapters; the shell,
where scheduler and backend meet; and what people use, which is everything not named here.
"""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

RINGS = {
    0: {"space", "trial", "events", "orders", "exceptions"},
    1: {"gp", "searchers", "schedulers", "stopping", "ledger", "methods"},
    2: {
        "backends",
        "benchmark",
        "checkpoints",
        "cores",
        "files",
        "journal",
        "plugins",
        "proposer",
        "records",
        "replay",
        "reporting",
        "trainable",
        "virtualtime",
    },
    3: {"tuner"},
}
PEOPLE = 4

FORBIDDEN = {
    "aiobotocore",
    "anyio",
    "asyncio",
    "concurrent",
    "datetime",
    "io",
    "logging",
    "multiprocessing",
    "os",
    "pathlib",
    "random",
    "secrets",
    "shutil",
    "socket",
    "subprocess",
    "tempfile",
    "threading",
    "time",
    "torch",
    "uuid",
}
SEEDED = {"Generator", "PCG64", "SeedSequence"}


def ring_of(part):
    return next((ring for ring, parts in RINGS.items() if part in parts), PEOPLE)


def modules(package):
    """Return (dotted name, syntax tree) of every module of a package."""
    found = []
    for path in sorted((ROOT / package).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found.append((name, ast.parse(path.read_text(encoding="utf-8"))))
    return found


def imports(tree):
    """Yield (module, name or None) of everything imported anywhere, in functions as well."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, None) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute here"
            yield from ((node.module, alias.name) for alias in node.names)


ASYNCTUNE = modules("asynctune")
SIMS = modules("sims")
PURE = [(name, tree) for name, tree in ASYNCTUNE if ring_of((name.split(".") * 2)[1]) <= 1]


def test_the_rings_name_what_there_is():
    there = {name.split(".")[1] for name, _ in ASYNCTUNE if "." in name}
    assert set().union(*RINGS.values()) <= there
    assert len(PURE) > 30


def breaches(name, tree):
    """Return what a module imports from further outside than it is itself."""
    if "." not in name:
        return []  # the package itself only names what there is
    inside = name.split(".")[1]
    found = []
    for module, item in imports(tree):
        parts = module.split(".")
        if parts[0] != "asynctune":
            continue
        part = parts[1] if len(parts) > 1 else item
        if ring_of(part) > ring_of(inside):
            found.append(f"{name} imports {part}")
    return found


def test_imports_point_inward():
    assert [breach for name, tree in ASYNCTUNE for breach in breaches(name, tree)] == []


def test_asynctune_never_imports_sims():
    for name, tree in ASYNCTUNE:
        assert not [m for m, _ in imports(tree) if m.split(".")[0] == "sims"], name


def test_sims_imports_public_modules_only():
    for name, tree in SIMS:
        for module, item in imports(tree):
            if module.split(".")[0] == "asynctune":
                path = [*module.split("."), item or ""]
                assert not any(part.startswith("_") for part in path), f"{name} imports {path}"


def impurities(tree):
    """Return what pure code must not have: clocks, IO, chance, waiting."""
    found = [module for module, _ in imports(tree) if module.split(".")[0] in FORBIDDEN]
    found += [m for m, _ in imports(tree) if m.startswith("numpy.random")]
    for node in ast.walk(tree):
        match node:
            case ast.AsyncFunctionDef() | ast.Await() | ast.AsyncFor() | ast.AsyncWith():
                found.append(type(node).__name__)
            case ast.Call(func=ast.Name("open" | "print" | "input" as name)):
                found.append(name)
            case ast.Attribute(ast.Attribute(attr="random"), name) if name not in SEEDED:
                found.append(f"random.{name}")
            case ast.Call(ast.Attribute(attr="SeedSequence" | "PCG64" as name), [], []):
                found.append(f"{name} without a seed")
    return found


def test_pure_modules_are_pure():
    assert {name: bad for name, tree in PURE if (bad := impurities(tree))} == {}


@pytest.mark.parametrize(
    "code",
    [
        "import time",
        "from os import path",
        "def f():\n    import asyncio",
        "from numpy.random import default_rng",
        "import numpy as np\nnp.random.default_rng(3)",
        "import numpy as np\nnp.random.SeedSequence()",
        "import numpy as np\nnp.random.seed(3)",
        "async def f(): ...",
        "open('x')",
    ],
)
def test_impurities_are_found(code):
    assert impurities(ast.parse(code))


@pytest.mark.parametrize(
    "code",
    [
        "import asynctune.tuner",
        "from asynctune import journal",
        "def f():\n    from asynctune.backends.base import Clock",
    ],
)
def test_breaches_are_found(code):
    assert breaches("asynctune.ledger", ast.parse(code))
    assert not breaches("asynctune.study", ast.parse(code))
