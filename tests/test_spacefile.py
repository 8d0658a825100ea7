"""Space files: what people write, what is read from it, and what is wrong with it."""

import json

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from asynctune.exceptions import UsageError
from asynctune.space import (
    ConfigSpace,
    choice,
    finrange,
    logfinrange,
    lograndint,
    loguniform,
    ordinal,
    randint,
    reverseloguniform,
    uniform,
)
from asynctune.spacefile import format_space, read_space

WRITTEN = """
lr: {loguniform: [1e-6, 1]}  # YAML 1.1 takes the lower bound for a word
momentum: {reverseloguniform: [0, 0.99]}
dropout:
  uniform: {lower: 0, upper: .5}
batch_size: {choice: [16, 32]}
layers: {randint: [1, 8]}
units: {lograndint: [8, +512]}
width: {ordinal: [64, 128]}
height: {ordinal: {values: [64, 128, 512], kind: nn-log}}
steps: {finrange: [0, 10, 11]}
decay: {logfinrange: {lower: 1e-4, upper: 1.0, size: 5}}
warmup: {finrange: {lower: 0, upper: 10, size: 11, cast_int: true}}
word: {choice: [on, off, "1e-3", 1e-3, 12:30, 2024-01-01]}
epochs: 40
zip: 010
optimizer: sgd
amp: true
note: null
"""
MEANT = {
    "lr": loguniform(1e-6, 1),
    "momentum": reverseloguniform(0, 0.99),
    "dropout": uniform(0, 0.5),
    "batch_size": choice([16, 32]),
    "layers": randint(1, 8),
    "units": lograndint(8, 512),
    "width": ordinal([64, 128]),
    "height": ordinal([64, 128, 512], kind="nn-log"),
    "steps": finrange(0, 10, 11),
    "decay": logfinrange(1e-4, 1, 5),
    "warmup": finrange(0, 10, 11, cast_int=True),
    "word": choice(["on", "off", "1e-3", 1e-3, "12:30", "2024-01-01"]),
    "epochs": 40,
    "zip": 10,
    "optimizer": "sgd",
    "amp": True,
    "note": None,
}


def read(folder, text, name="space.yaml"):
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return read_space(path)


def test_what_people_write_is_what_they_mean(tmp_path):
    found = read(tmp_path, WRITTEN)
    assert found == MEANT
    assert list(found) == list(MEANT)
    assert type(found["epochs"]) is int


def test_json_says_the_same(tmp_path):
    text = json.dumps({"lr": {"loguniform": [1e-6, 1]}, "batch_size": {"choice": [16, 32]}})
    found = read(tmp_path, text, "space.json")
    assert found == {"lr": loguniform(1e-6, 1), "batch_size": choice([16, 32])}


def test_the_form_of_a_journal_is_read(tmp_path):
    text = json.dumps(ConfigSpace(MEANT).to_json())
    assert read(tmp_path, text, "space.json") == MEANT


def test_what_is_written_is_read_as_the_same_space(tmp_path):
    text = format_space(MEANT)
    assert read(tmp_path, text) == MEANT
    assert text.splitlines()[3] == "batch_size: {choice: [16, 32]}"
    assert "'on'" in text  # for readers of YAML 1.1


WORDS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=40)
SCALARS = st.one_of(WORDS, st.booleans(), st.integers(), st.floats(allow_nan=False).map(abs))


@settings(max_examples=50)
@example({"0": ["0"], "\n": ["a\rb"], "a\u2028": [""]})
@given(
    st.dictionaries(
        WORDS, st.lists(SCALARS, min_size=1, max_size=5, unique=True), min_size=1, max_size=5
    )
)
def test_any_words_and_numbers_survive(tmp_path_factory, lists):
    space = {}
    for name, values in lists.items():
        try:
            space[name] = choice(values)
        except UsageError:  # such as 1 beside True
            space[name] = values[0] if values[0] != float("inf") else None
    assert read(tmp_path_factory.mktemp("any"), format_space(space)) == space


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lr: {loguniform: [1, 0.1]}", "'lr': loguniform: lower must be below upper; got 1.0"),
        ("lr: {loguniform: [1]}", "'lr': loguniform must have lower, upper; got [1]"),
        ("lr: {loguniform: 1}", "'lr': loguniform must have lower, upper; got 1"),
        ("lr: {loguniform: {low: 1, upper: 2}}", "'lr': loguniform must have lower, upper"),
        ("lr: {loguniform: [a, 1]}", "'lr': loguniform: lower must be"),
        ("n: {randint: [1, 2.5]}", "'n': randint: upper must be"),
        ("n: {choice: 3}", "'n': choice must have categories; got 3"),
        ("n: {choice: []}", "'n': choice: there must be at least one value"),
        ("n: {choice: [[1]]}", "'n': choice: a value must be"),
        ("lr: {lognormal: [0, 1]}", "'lr' must be one domain, such as {uniform: [0, 1]}, or a"),
        ("lr: {uniform: [0, 1], choice: [1]}", "'lr' must be one domain"),
        ("lr: {}", "'lr' must be one domain"),
        ("lr: [1e-6, 1]", "'lr' must be a domain, such as {choice: [...]}, or a constant; got [1e"),
        ("x: .inf", "'x' must be a domain, or as a constant"),
        ("1: 2", "a parameter's name must be a non-empty string; got 1"),
        ("", "a config space must be a mapping of names to domains; got None"),
        ("- lr", "a config space must be a mapping of names to domains; got ['lr']"),
        ("lr: 1\nlr: 2", "line 2: 'lr' stands here a second time"),
        ("a: 1\nlr: {uniform: [0, 1}", "line 2: expected"),
        ("a: 1\n\tb: 2", "line 2: found character"),
        ("a: !!python/object:os.system x", "line 1: could not determine a constructor"),
        ("a: \x07", "is no YAML"),
    ],
)
def test_errors_name_file_parameter_and_value(tmp_path, text, message):
    with pytest.raises(UsageError) as error:
        read(tmp_path, text)
    assert str(tmp_path / "space.yaml") in str(error.value)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"lr": 1,\n}', "line 2 is no JSON"),
        ('{"lr": 1, "lr": 2}', "space.json: a name must stand in a space file once; 'lr' does"),
        ("[]", "space.json: a config space must be a mapping"),
    ],
)
def test_errors_in_json(tmp_path, text, message):
    with pytest.raises(UsageError) as error:
        read(tmp_path, text, "space.json")
    assert message in str(error.value)


def test_a_file_that_cannot_be_read(tmp_path):
    with pytest.raises(UsageError, match="No such file"):
        read_space(tmp_path / "space.yaml")
    (tmp_path / "space.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="UTF-8"):
        read_space(tmp_path / "space.yaml")
