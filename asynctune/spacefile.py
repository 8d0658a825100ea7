"""Config spaces as files: YAML that people write, or JSON.

    lr: {loguniform: [1e-6, 1]}
    batch_size: {choice: [16, 32, 64]}
    layers: {randint: [1, 8]}
    width: {ordinal: {values: [64, 128, 256], kind: nn-log}}
    epochs: 40

A domain is its name with its arguments, as a list in their order or by name; everything else is
a constant. The form of `ConfigSpace.to_json` is read as well. Scalars are those of YAML 1.2:
``1e-6`` is a number, ``on`` and ``no`` are words.
"""

import inspect
import json
import re
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from asynctune import space as functions
from asynctune.exceptions import SpaceError, UsageError
from asynctune.space import ConfigSpace

_DOMAINS: Final = (
    *("uniform", "loguniform", "reverseloguniform", "randint", "lograndint"),
    *("choice", "ordinal", "finrange", "logfinrange"),
)
_OF_VALUES: Final = {"choice": "categories", "ordinal": "values"}
_DEFAULTS: Final[Mapping[str, Any]] = {"cast_int": False, "kind": "equal"}


def read_space(path: str | Path) -> dict[str, Any]:
    """Return the config space in a file, a dict of domains and constants.

    Args:
        path: A file in JSON if its name ends in .json, else in YAML.

    Raises:
        UsageError: If the file cannot be read, or holds no config space; the message names the
            file, the parameter and what was found.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"a space file must be readable; {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"a space file must be text in UTF-8; {path} is not") from None
    try:
        return dict(parse_space(_data(text, as_json=path.suffix == ".json")))
    except json.JSONDecodeError as error:
        raise UsageError(f"{path}, line {error.lineno} is no JSON: {error.msg}") from None
    except yaml.MarkedYAMLError as error:
        line = "" if error.problem_mark is None else f", line {error.problem_mark.line + 1}"
        raise UsageError(f"{path}{line}: {error.problem}") from None
    except yaml.YAMLError as error:
        raise UsageError(f"{path} is no YAML: {' '.join(str(error).split())}") from None
    except SpaceError as error:
        raise SpaceError(f"{path}: {error}") from None


def parse_space(data: object) -> ConfigSpace:
    """Return the config space that the content of a space file means.

    Raises:
        SpaceError: If it means none; the message names the parameter.
    """
    if not isinstance(data, Mapping) or not data:
        raise SpaceError(f"a config space must be a mapping of names to domains; got {data!r}")
    return ConfigSpace.from_json({name: _entry(name, entry) for name, entry in data.items()})


def format_space(space: Mapping[str, Any]) -> str:
    """Return a config space as YAML, one line a parameter; `read_space` is the inverse."""
    entries = ConfigSpace(space).to_json().items()
    return "".join(f"{_flow(name)}: {_flow(_short(entry))}\n" for name, entry in entries)


def _entry(name: object, entry: object) -> object:
    """Return one entry in the form of `ConfigSpace.to_json`."""
    if isinstance(entry, Mapping) and "domain" not in entry:
        if len(entry) != 1 or (domain := next(iter(entry))) not in _DOMAINS:
            raise SpaceError(
                f"parameter {name!r} must be one domain, such as {{uniform: [0, 1]}}, or a "
                f"constant; the domains are {', '.join(_DOMAINS)}; got {_shown(entry)}"
            )
        return {"domain": domain, **_arguments(name, domain, entry[domain])}
    if entry is None or isinstance(entry, Mapping | str | int | float):
        return entry
    raise SpaceError(
        f"parameter {name!r} must be a domain, such as {{choice: [...]}}, or a constant; "
        f"got {_shown(entry)}"
    )


def _arguments(name: object, domain: str, given: object) -> Mapping[str, Any]:
    """Return the arguments of a domain by name."""
    signature = inspect.signature(getattr(functions, domain))
    try:
        if isinstance(given, Mapping):
            return signature.bind(**given).arguments
        if isinstance(given, list):
            return signature.bind(*([given] if domain in _OF_VALUES else given)).arguments
    except TypeError:  # too many, too few, or of another name
        pass
    wanted = _OF_VALUES.get(domain) or ", ".join(signature.parameters)
    raise SpaceError(f"parameter {name!r}: {domain} must have {wanted}; got {_shown(given)}")


def _short(domain: Any) -> Any:  # noqa: ANN401 - whatever JSON holds
    """Return a domain in the form in which people write it; a constant as it is."""
    if not isinstance(domain, Mapping):
        return domain
    arguments = {n: v for n, v in domain.items() if n != "domain" and _DEFAULTS.get(n) != v}
    name = domain["domain"]
    if not arguments.keys() & _DEFAULTS.keys():
        values = list(arguments.values())
        return {name: values[0] if name in _OF_VALUES else values}
    return {name: arguments}


def _flow(value: Any) -> str:  # noqa: ANN401 - whatever JSON holds
    """Return a value as YAML in a line."""
    text: str = yaml.dump(
        [value], Dumper=_Dumper, default_flow_style=True, sort_keys=False, width=1 << 20
    )
    return text.strip()[1:-1]  # a scalar by itself would be a document, with a mark at its end


def _shown(value: object) -> str:
    """Return a value of a file as it would stand in one."""
    return json.dumps(value, default=str)


def _data(text: str, *, as_json: bool) -> object:
    if as_json:
        return json.loads(text, object_pairs_hook=_without_repetition)
    return yaml.load(text, _Loader)  # noqa: S506 - a safe loader


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise SpaceError(f"a name must stand in a space file once; {name!r} does twice")
        found[name] = value
    return found


# The core schema of YAML 1.2 (section 10.3.2): YAML 1.1 takes `1e-6` for a word, and
# `on` for a truth value.
_SCALARS: Final = (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?[0-9]+", list("-+0123456789")),
    (
        "float",
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        list("-+.0123456789"),
    ),
)


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        return int(self.construct_scalar(node))  # YAML 1.1 reads 010 as eight

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:  # noqa: FBT001, FBT002
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):  # anything else is refused in any case
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"{key.value!r} stands here a second time", key.start_mark
                    )
                seen.add(key.value)
        return super().construct_mapping(node, deep)


class _Dumper(yaml.SafeDumper):
    # It knows the scalars of YAML 1.1 too, so that words like `on` are quoted for other readers.

    def ignore_aliases(self, data: object) -> bool:
        del data
        return True

    def represent_text(self, text: str) -> yaml.ScalarNode:
        # A name must stand in one line: double quotes write its breaks as escapes.
        style = '"' if len(f"{text}.".splitlines()) > 1 else None
        return self.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _Dumper.represent_text)
_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_yaml_int)
for _reader in (_Loader, _Dumper):
    for _tag, _pattern, _first in _SCALARS:
        _whole = re.compile(rf"^(?:{_pattern})$")
        _reader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", _whole, _first)
