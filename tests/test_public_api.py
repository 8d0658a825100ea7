import ast
import inspect
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import asynctune


def imported_for_type_checkers():
    """Yield (module, name) of the imports that only type checkers see."""
    tree = ast.parse(Path(asynctune.__file__).read_text(encoding="utf-8"))
    block = next(
        n for n in tree.body if isinstance(n, ast.If) and ast.unparse(n.test) == "TYPE_CHECKING"
    )
    for statement in block.body:
        assert isinstance(statement, ast.ImportFrom)
        for alias in statement.names:
            assert alias.asname == alias.name, "X as X says that the name is exported"
            yield statement.module, alias.name


def test_type_checkers_see_what_runs():
    seen = {name: module for module, name in imported_for_type_checkers()}
    assert {n: f"asynctune.{m}" for n, m in asynctune._MODULE_OF.items()} == seen
    assert asynctune.__all__ == sorted(seen)


@pytest.mark.parametrize("name", asynctune.__all__)
def test_every_public_name_resolves_and_is_documented(name):
    exported = getattr(asynctune, name)
    module = import_module(f"asynctune.{asynctune._MODULE_OF[name]}")
    assert exported is getattr(module, name)
    assert exported.__module__.startswith("asynctune.")
    assert len(inspect.getdoc(exported).splitlines()[0]) > 10
    assert name in dir(asynctune)
    if inspect.isclass(exported):
        for attribute, member in vars(exported).items():
            if not attribute.startswith("_") and (
                inspect.isfunction(member) or isinstance(member, property | classmethod)
            ):
                assert inspect.getdoc(member), f"{name}.{attribute} has no docstring"


def test_no_public_name_hides_a_module():
    package = Path(asynctune.__file__).parent
    modules = {p.stem for p in package.iterdir()}
    assert not modules & set(asynctune.__all__)


def test_a_name_is_imported_once():
    code = (
        "import asynctune; assert 'uniform' not in vars(asynctune); first = asynctune.uniform; "
        "assert vars(asynctune)['uniform'] is first"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_misspelt_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'asynctune' has no attribute 'AksTell'"):
        _ = asynctune.AksTell


def test_star_import():
    code = "from asynctune import *; assert loguniform(1, 2) and AskTell and run_experiment"
    subprocess.run([sys.executable, "-c", code], check=True)
