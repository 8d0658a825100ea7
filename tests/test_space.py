import json
import math
import pickle
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asynctune.exceptions import SpaceError
from asynctune.space import (
    ConfigSpace,
    Domain,
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
from asynctune.space._scale import portable_exp

TRANSFORMER = {
    "lr": loguniform(1e-6, 1e-3),
    "dropout": uniform(0, 0.99),
    "batch_size": randint(16, 48),
    "momentum": uniform(0, 0.99),
    "clip": uniform(0, 1),
}


def float_pairs(lower, upper):
    numbers = st.floats(lower, upper, allow_subnormal=False)
    return st.tuples(numbers, numbers).map(sorted).filter(lambda p: p[1] - p[0] > 1e-6 * abs(p[1]))


def int_pairs(lower, upper):
    return st.tuples(st.integers(lower, upper), st.integers(lower, upper)).map(sorted)


scalars = st.one_of(st.text(max_size=5), st.integers(-9, 9), st.floats(-9, 9), st.booleans())
increasing = st.lists(st.integers(1, 10**6), min_size=1, max_size=8, unique=True).map(sorted)
domains = st.one_of(
    float_pairs(-1e9, 1e9).map(lambda p: uniform(*p)),
    float_pairs(1e-12, 1e12).map(lambda p: loguniform(*p)),
    float_pairs(0.0, 1.0 - 1e-9)
    .filter(lambda p: p[1] - p[0] > 1e-6)
    .map(lambda p: reverseloguniform(*p)),
    int_pairs(-(10**6), 10**6).map(lambda p: randint(*p)),
    int_pairs(1, 10**6).map(lambda p: lograndint(*p)),
    st.lists(scalars, min_size=1, max_size=8, unique=True).map(choice),
    st.lists(scalars, min_size=1, max_size=8, unique=True).map(ordinal),
    st.tuples(increasing, st.sampled_from(["nn", "nn-log"])).map(lambda p: ordinal(*p)),
    st.tuples(float_pairs(-1e3, 1e3), st.integers(2, 20)).map(lambda p: finrange(*p[0], p[1])),
    st.tuples(float_pairs(1e-3, 1e3), st.integers(2, 20)).map(lambda p: logfinrange(*p[0], p[1])),
)
spaces = st.dictionaries(
    st.text(min_size=1, max_size=4), st.one_of(domains, scalars), max_size=5
).map(ConfigSpace)
seeds = st.integers(0, 2**32 - 1)


def rng_of(seed):
    return np.random.Generator(np.random.PCG64(seed))


def assert_same_config(a, b):
    assert list(a) == list(b)
    for name, value in a.items():
        assert type(b[name]) is type(value)
        if isinstance(value, float):
            assert b[name] == pytest.approx(value, rel=1e-6, abs=1e-9)
        else:
            assert b[name] == value


@given(spaces, seeds)
def test_configs_survive_encoding(space, seed):
    configs = space.sample(20, rng_of(seed))
    x = space.encode(configs)
    assert x.shape == (20, space.dimension)
    assert x.dtype == np.float64
    assert np.all((x >= 0.0) & (x <= 1.0))
    for config, again in zip(configs, space.decode(x), strict=True):
        assert_same_config(config, again)


@given(spaces, seeds)
def test_the_cube_decodes_to_valid_configs(space, seed):
    rng = rng_of(seed)
    corners = rng.integers(0, 2, (10, space.dimension)).astype(float)
    outside = rng.uniform(-1.0, 2.0, (10, space.dimension))
    for config in space.decode(np.vstack([corners, outside])):
        space.validate(config)


@given(spaces, seeds)
def test_samples_are_complete_valid_and_plain(space, seed):
    for config in [*space.sample(5, rng_of(seed)), space.default()]:
        space.validate(config)
        assert_same_config(config, space.complete(config))
        assert list(config) == list(space)
        assert json.loads(json.dumps(config)) == config


@given(spaces)
def test_json_round_trip(space):
    again = ConfigSpace.from_json(json.loads(json.dumps(space.to_json())))
    assert again == space
    assert hash(again) == hash(space)
    assert list(again) == list(space)
    assert again.to_json() == space.to_json()


@given(domains)
def test_domains_are_values(domain):
    again = pickle.loads(pickle.dumps(domain))  # noqa: S301
    assert again == domain
    assert hash(again) == hash(domain)
    assert again.default() == domain.default()
    text = repr(domain)
    names = {f.__name__: f for f in (choice, finrange, logfinrange, lograndint, loguniform)}
    names |= {f.__name__: f for f in (ordinal, randint, reverseloguniform, uniform)}
    assert eval(text, {"__builtins__": {}, "True": True, "False": False}, names) == domain  # noqa: S307


@given(spaces, seeds)
def test_numpy_scalars_become_plain_values(space, seed):
    config = space.sample(1, rng_of(seed))[0]
    wrapped = {k: v if isinstance(v, str) else np.asarray(v)[()] for k, v in config.items()}
    assert_same_config(config, space.complete(wrapped))
    assert np.array_equal(space.encode([wrapped]), space.encode([config]))


@given(spaces, seeds)
def test_order_of_keys_does_not_matter(space, seed):
    turned = ConfigSpace(dict(reversed(list(space.items()))))
    assert turned == space
    a, b = space.sample(3, rng_of(seed)), turned.sample(3, rng_of(seed))
    assert a == b
    assert np.array_equal(space.encode(a), turned.encode(b))
    assert [space.key(c) for c in a] == [turned.key(c) for c in b]


@settings(max_examples=50)
@given(
    st.dictionaries(
        st.text(min_size=1, max_size=3),
        st.one_of(
            int_pairs(0, 4).map(lambda p: randint(*p)),
            st.lists(scalars, min_size=1, max_size=4, unique=True).map(choice),
            increasing.map(ordinal),
            st.just(finrange(0.1, 0.7, 4)),
        ),
        max_size=3,
    ).map(ConfigSpace)
)
def test_finite_spaces_can_be_counted(space):
    configs = [space.config_at(i) for i in range(space.size)]
    assert len({space.key(c) for c in configs}) == space.size
    for config in configs:
        space.validate(config)
    with pytest.raises(SpaceError, match=f"must be below {space.size}"):
        space.config_at(space.size)


def test_size():
    assert ConfigSpace(TRANSFORMER).size is None
    assert ConfigSpace({"a": randint(3, 7), "b": choice(["x", 1, 2]), "c": 5}).size == 15
    assert ConfigSpace({"c": 5}).size == 1
    with pytest.raises(SpaceError, match="only a finite domain"):
        uniform(0, 1).value_at(0)


def test_transformer_default():
    assert ConfigSpace(TRANSFORMER).default() == {
        "lr": 10**-4.5,
        "dropout": 0.495,
        "batch_size": 32,
        "momentum": 0.495,
        "clip": 0.5,
    }


@pytest.mark.parametrize(
    ("domain", "midpoint"),
    [
        (uniform(-1, 4), 1.5),
        (loguniform(1, 100), 10.0),
        (loguniform(1e-300, 1e-200), 1e-250),
        (reverseloguniform(0, 0.99), 0.9),
        (randint(0, 5), 2),
        (lograndint(1, 100), 10),
        (choice(["b", "a"]), "b"),
        (ordinal(["s", "m", "l"]), "m"),
        (ordinal([1, 2, 50, 100], "nn"), 50),
        (ordinal([1, 9, 50, 100], "nn-log"), 9),
        (finrange(0, 1, 5), 0.5),
        (logfinrange(1, 10000, 5), 100.0),
        (logfinrange(8, 512, 7, cast_int=True), 64),
    ],
)
def test_midpoints(domain, midpoint):
    if isinstance(midpoint, float):
        assert domain.default() == pytest.approx(midpoint, rel=1e-15)
    else:
        assert domain.default() == midpoint
    assert type(domain.default()) is type(midpoint)


def cdf_uniform(x):
    return (x + 2.0) / 5.0


def cdf_log(x):
    return np.log10(x) / 3.0 + 2.0


def cdf_reverse(x):
    return -np.log10(1.0 - x) / 2.0


@pytest.mark.parametrize(
    ("domain", "cdf"),
    [
        (uniform(-2, 3), cdf_uniform),
        (loguniform(1e-6, 1e-3), cdf_log),
        (reverseloguniform(0, 0.99), cdf_reverse),
    ],
)
def test_floats_follow_their_distribution(domain, cdf):
    n = 20_000
    sample = np.sort([c["x"] for c in ConfigSpace({"x": domain}).sample(n, rng_of(5))])
    grid = (np.arange(n) + 0.5) / n
    # Kolmogorov-Smirnov: the distance exceeds 1.95 / sqrt(n) once in a thousand.
    assert np.max(np.abs(cdf(sample) - grid)) < 1.95 / math.sqrt(n)


def log_cell(v, lower, upper):
    return math.log((v + 0.5) / (v - 0.5)) / math.log((upper + 0.5) / (lower - 0.5))


# Domains with the probabilities of their values, in their natural order.
CELLS = [
    (randint(-1, 3), [1 / 5] * 5),
    (lograndint(1, 6), [log_cell(v, 1, 6) for v in range(1, 7)]),
    (choice(["a", "b"]), [1 / 2] * 2),
    (choice(["a", 2, 0.5, True]), [1 / 4] * 4),
    (ordinal([5, 1, 100]), [1 / 3] * 3),
    # Borders at 2 and 6.5; the axis reaches half of the mean spacing 4.5 beyond the ends.
    (ordinal([1, 3, 10], "nn"), [3.25 / 13.5, 4.5 / 13.5, 5.75 / 13.5]),
    (ordinal([1, 10, 1000], "nn-log"), [1.25 / 4.5, 1.5 / 4.5, 1.75 / 4.5]),
    (finrange(0.0, 0.9, 4), [1 / 4] * 4),
    (logfinrange(2, 16, 4, cast_int=True), [1 / 4] * 4),
]


def counts(domain, values):
    found = Counter(values)
    assert sum(found[domain.value_at(i)] for i in range(domain.size)) == len(values)
    return [found[domain.value_at(i)] for i in range(domain.size)]


@pytest.mark.parametrize(("domain", "probabilities"), CELLS)
def test_cells_have_their_probabilities(domain, probabilities):
    n = 100_000
    values = domain.from_unit((np.arange(n) + 0.5) / n)
    for count, p in zip(counts(domain, values), probabilities, strict=True):
        assert abs(count - n * p) <= 1.0


@pytest.mark.parametrize(("domain", "probabilities"), CELLS)
def test_cells_are_drawn_as_often(domain, probabilities):
    n = 10_000
    drawn = [c["x"] for c in ConfigSpace({"x": domain}).sample(n, rng_of(17))]
    expected = n * np.array(probabilities)
    chi2 = np.sum((np.array(counts(domain, drawn)) - expected) ** 2 / expected)
    assert chi2 < 20.6  # passed once in a thousand with 5 degrees of freedom


@pytest.mark.parametrize(
    "domain",
    [
        randint(2, 5),
        lograndint(1, 9),
        choice([1, 2]),
        ordinal([1, 5, 6], "nn"),
        ordinal([1, 5, 6]),
        finrange(0, 1, 3),
    ],
)
def test_the_ends_of_the_unit_interval_are_the_ends_of_the_domain(domain):
    first, last = domain.from_unit(np.array([0.0, 1.0]))
    assert first == domain.value_at(0)
    assert last == domain.value_at(domain.size - 1)


def test_bounds_are_inclusive_and_never_overrun():
    for domain in (uniform(0.1, 0.3), loguniform(1e-6, 1e-3), reverseloguniform(0.3, 0.999)):
        low, high = domain.from_unit(np.array([0.0, 1.0]))
        assert low == pytest.approx(domain.lower, rel=1e-13)
        assert high == pytest.approx(domain.upper, rel=1e-13)
        assert domain.lower <= low
        assert high <= domain.upper
        assert domain.check(domain.upper) == domain.upper


def test_encodings_in_numbers():
    def code(domain, value):
        return ConfigSpace({"x": domain}).encode([{"x": value}])[0].tolist()

    assert code(uniform(2, 4), 3) == [0.5]
    assert code(loguniform(1e-4, 1), 1e-1) == pytest.approx([0.75])
    assert code(reverseloguniform(0, 0.99), 0.9) == pytest.approx([0.5])
    assert code(randint(1, 4), 2) == [0.375]
    assert code(lograndint(1, 4), 4) == pytest.approx([math.log(8) / math.log(9)])
    assert code(choice(["a", "b"]), "b") == [0.75]
    assert code(choice(["a", "b", "c"]), "b") == [0.0, 1.0, 0.0]
    assert code(choice(["only"]), "only") == [0.5]
    assert code(ordinal([3, 8, 100, 7]), 100) == [0.625]
    assert code(ordinal([1, 3, 10], "nn"), 3) == pytest.approx([(3 + 1.25) / 13.5])
    assert code(finrange(0, 3, 4), 2.0) == [0.625]
    assert code(finrange(0, 0.9, 4), 0.3) == pytest.approx([0.375])  # 0.3 is not the grid's own


def test_columns_are_alphabetical():
    space = ConfigSpace({"z": uniform(0, 1), "k": 3, "b": choice([1, 2, 3]), "a": randint(0, 9)})
    assert space.names == ("a", "b", "z")
    assert dict(space.columns) == {"a": slice(0, 1), "b": slice(1, 4), "z": slice(4, 5)}
    assert space.dimension == 5
    assert dict(space.constants) == {"k": 3}
    assert all(isinstance(d, Domain) for d in space.domains.values())
    assert space.encode([{"z": 1.0, "b": 3, "a": 0}]).tolist() == [[0.05, 0.0, 0.0, 1.0, 1.0]]
    assert space.encode([]).shape == (0, 5)


def test_complete_takes_a_part_of_a_config():
    space = ConfigSpace({**TRANSFORMER, "epochs": 40, "optimizer": "sgd"})
    config = space.complete({"batch_size": 20.0, "lr": np.float32(0.0005), "epochs": 40})
    assert config == {
        "lr": float(np.float32(0.0005)),
        "dropout": 0.495,
        "batch_size": 20,
        "momentum": 0.495,
        "clip": 0.5,
        "epochs": 40,
        "optimizer": "sgd",
    }
    assert type(config["batch_size"]) is int
    assert list(config) == list(space)


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ({"learning_rate": 1.0}, "keys must be among lr, .*; got 'learning_rate'"),
        ({"lr": 0.0}, r"parameter 'lr': value must belong to loguniform\(1e-06, 0.001\); got 0.0"),
        ({"lr": math.nan}, "parameter 'lr': value must be finite; got nan"),
        ({"lr": "fast"}, "parameter 'lr': value must be a number; got 'fast'"),
        ({"lr": True}, "parameter 'lr': value must be a number; got True"),
        ({"batch_size": 49}, r"'batch_size': value must belong to randint\(16, 48\); got 49"),
        ({"batch_size": 20.5}, "'batch_size': value must be a whole number; got 20.5"),
        ({"act": "tanh"}, r"'act': value must belong to choice\(\['relu', 'gelu'\]\); got 'tanh'"),
        ({"act": ["relu"]}, "'act': value must belong to choice"),
        ({"width": 0.31}, r"'width': value must belong to finrange\(0.0, 0.9, 4\); got 0.31"),
        ({"epochs": 41}, "'epochs' must be the constant 40; got 41"),
    ],
)
def test_a_wrong_config_is_refused(part, message):
    space = ConfigSpace(
        {**TRANSFORMER, "act": choice(["relu", "gelu"]), "width": finrange(0, 0.9, 4), "epochs": 40}
    )
    with pytest.raises(SpaceError, match=message) as caught:
        space.complete(part)
    assert "\n" not in str(caught.value)


def test_validate_wants_every_key():
    space = ConfigSpace({"lr": uniform(0, 1), "epochs": 4})
    space.validate({"lr": 0.5, "epochs": 4})
    with pytest.raises(SpaceError, match="must have a value for 'epochs'; got none"):
        space.validate({"lr": 0.5})


def test_encode_refuses_what_it_cannot_place():
    space = ConfigSpace({"lr": loguniform(1, 2), "act": choice([1, 2, 3]), "n": randint(1, 3)})
    good = {"lr": 1.5, "act": 1, "n": 1}
    for bad, message in [
        ({**good, "lr": 2.1}, "parameter 'lr': values must belong to loguniform"),
        ({**good, "lr": 0.0}, "parameter 'lr'"),
        ({**good, "lr": -1.0}, "parameter 'lr'"),
        ({**good, "lr": math.nan}, "parameter 'lr'"),
        ({**good, "act": 4}, "parameter 'act': values must belong to choice.*got 4"),
        ({**good, "n": 0}, "parameter 'n'"),
        ({"lr": 1.5, "act": 1}, "must have a value for 'n'"),
    ]:
        with pytest.raises(SpaceError, match=message):
            space.encode([good, bad])
    with pytest.raises(SpaceError, match=r"coordinates must be n x 5; got \(2, 4\)"):
        space.decode(np.zeros((2, 4)))
    with pytest.raises(SpaceError, match=r"draws must be n x 3; got \(3,\)"):
        space.from_unit(np.zeros(3))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: uniform(1, 0), "uniform: lower must be below upper; got 1.0 and 0.0"),
        (lambda: uniform(1, 1), "uniform: lower must be below upper; got 1.0 and 1.0"),
        (lambda: uniform(0, math.inf), "uniform: upper must be finite; got inf"),
        (lambda: uniform(math.nan, 1), "uniform: lower must be finite; got nan"),
        (lambda: uniform(-1e308, 1e308), "uniform: upper - lower must be finite; got inf"),
        (lambda: uniform(0, 10**400), "uniform: upper must be finite"),
        (lambda: uniform("0", 1), "uniform: lower must be a number; got '0'"),
        (lambda: loguniform(0, 1), "loguniform: lower must be above 0 on a log scale; got 0.0"),
        (lambda: reverseloguniform(0.5, 1), r"reverseloguniform: the bounds must lie in \[0, 1\)"),
        (lambda: reverseloguniform(0, 1e-20), "1 - x must differ between the bounds; got 0.0 and"),
        (lambda: randint(5, 4), "randint: lower must not exceed upper; got 5 and 4"),
        (lambda: randint(0, 1.5), "randint: upper must be a whole number; got 1.5"),
        (lambda: randint(False, 3), "randint: lower must be a number; got False"),
        (lambda: randint(0, 2**60), r"randint: upper must lie within 2\*\*53 of zero"),
        (lambda: lograndint(0, 5), "lograndint: lower must be at least 1 on a log scale; got 0"),
        (lambda: choice([]), "choice: there must be at least one value; got none"),
        (lambda: choice([1, 1.0]), r"choice: the values must be distinct; got \[1, 1.0\]"),
        (lambda: choice([[1], 2]), r"choice: a value must be a string, number or bool; got \[1\]"),
        (lambda: choice("abc"), "choice: the values must be a list or a tuple; got 'abc'"),
        (lambda: choice([math.nan]), "choice: a value must be a string, number or bool; got nan"),
        (lambda: ordinal([1, 2], "log"), "ordinal: kind must be equal, nn or nn-log; got 'log'"),
        (lambda: ordinal([2, 1], "nn"), r"ordinal of kind nn: values must increase; got \[2, 1\]"),
        (lambda: ordinal(["a", "b"], "nn"), "ordinal of kind nn: a value must be a number"),
        (lambda: ordinal([0, 1], "nn-log"), "ordinal: values must be above 0 for nn-log; got 0.0"),
        (lambda: finrange(0, 1, 1), "finrange: size must be at least 2; got 1"),
        (lambda: finrange(1, 0, 3), "finrange: lower must be below upper; got 1.0 and 0.0"),
        (lambda: finrange(0, 2, 9, cast_int=True), "finrange: the grid points must be distinct"),
        (lambda: logfinrange(0, 1, 3), "logfinrange: lower must be above 0 on a log scale"),
        (lambda: ConfigSpace({"": 1}), "name must be a non-empty string; got ''"),
        (lambda: ConfigSpace({3: 1}), "name must be a non-empty string; got 3"),
        (lambda: ConfigSpace({"a": [1, 2]}), r"parameter 'a' must be a domain, .*; got \[1, 2\]"),
        (lambda: ConfigSpace({"a": math.inf}), "parameter 'a' must be a domain, .*; got inf"),
        (lambda: ConfigSpace([1]), r"a config space must be a dict of domains; got \[1\]"),
        (
            lambda: ConfigSpace.from_json({"a": {"domain": "normal"}}),
            "parameter 'a': domain must be one of uniform, .*; got 'normal'",
        ),
        (
            lambda: ConfigSpace.from_json({"a": {"domain": "uniform", "low": 1}}),
            "parameter 'a': uniform: the arguments do not fit",
        ),
        (
            lambda: ConfigSpace.from_json({"a": {"domain": "loguniform", "lower": 0, "upper": 1}}),
            "parameter 'a': loguniform: lower must be above 0",
        ),
    ],
)
def test_a_wrong_space_is_refused_in_one_line(make, message):
    with pytest.raises(SpaceError, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)


def test_spaces_are_immutable_mappings():
    space = ConfigSpace({**TRANSFORMER, "epochs": 40})
    assert dict(space) == {**TRANSFORMER, "epochs": 40}
    assert ConfigSpace(space) == space
    assert pickle.loads(pickle.dumps(space)) == space  # noqa: S301
    with pytest.raises(TypeError):
        space["lr"] = uniform(0, 1)
    with pytest.raises(TypeError):
        space.domains["lr"] = uniform(0, 1)
    with pytest.raises(AttributeError):
        TRANSFORMER["lr"].lower = 1.0


def test_constants_are_part_of_a_config():
    space = ConfigSpace({"epochs": np.int64(40), "lr": uniform(0, 1), "note": None})
    config = space.sample(1, rng_of(0))[0]
    assert list(config) == ["epochs", "lr", "note"]
    assert config["epochs"] == 40
    assert type(config["epochs"]) is int
    assert space.key(config) == (config["lr"],)
    assert ConfigSpace({"epochs": 40}).sample(2, rng_of(0)) == [{"epochs": 40}] * 2


def test_portable_exp_is_exact_to_an_ulp():
    x = np.concatenate([rng_of(1).uniform(-700, 700, 2000), [0.0, -1.0, 1.0, 0.5, 1e-300]])
    for y, value in zip(portable_exp(x).tolist(), x.tolist(), strict=True):
        assert abs(y - math.exp(value)) <= 4e-16 * math.exp(value)
    assert portable_exp(np.zeros(1))[0] == 1.0


def test_log_draws_have_the_same_bits_everywhere():
    values = loguniform(1e-6, 1e-3).from_unit(np.array([0.1, 0.37, 0.9]))
    assert values == pytest.approx([1e-6 * 1000**u for u in (0.1, 0.37, 0.9)], rel=1e-15)
    assert [v.hex() for v in values] == [
        "0x1.0bccb0ed19a1dp-19",
        "0x1.b043cb3b34ee6p-17",
        "0x1.06c4363887513p-11",
    ]
