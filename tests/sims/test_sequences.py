"""The computed config sequences against samples of those behind the published studies."""

import pytest

from asynctune.exceptions import UsageError
from sims.transformer_wikitext2.sequences import config_sequence

# study, seed, index, then lr, dropout, batch_size, momentum, clip
SAMPLES = [
    ("local", 0, 0, 3.16227766017e-05, 0.495, 32, 0.495, 0.5),
    ("local", 0, 1, 1.59717398812e-06, 0.886816901872, 21, 0.687846339047, 0.970314265683),
    ("local", 0, 2, 2.89529779287e-05, 0.950272010852, 37, 0.680437722666, 0.171958160473),
    ("local", 0, 399, 0.000295865627867, 0.968398384697, 35, 0.822561435527, 0.666077742529),
    ("sagemaker", 0, 1, 1.95989366792e-06, 0.680487467636, 19, 0.97594383927, 0.0129199109326),
    ("sagemaker", 0, 2, 0.000165661660263, 0.060305803759, 22, 0.688057363925, 0.553777059011),
    ("sagemaker", 3, 1, 5.92125677778e-05, 0.565144615585, 29, 0.659273445046, 0.168360301516),
    ("sagemaker", 3, 399, 2.27496269693e-06, 0.348205323144, 27, 0.30276595729, 0.0352052208137),
]


@pytest.mark.parametrize(
    ("study", "seed", "index", "lr", "dropout", "batch_size", "momentum", "clip"), SAMPLES
)
def test_sequence_is_the_published_one(
    study, seed, index, lr, dropout, batch_size, momentum, clip
) -> None:
    config = config_sequence(study, seed, index + 1)[index]
    expected = {"lr": lr, "dropout": dropout, "momentum": momentum, "clip": clip}
    assert config.pop("batch_size") == batch_size
    assert config == pytest.approx(expected, rel=1e-11)


def test_a_longer_sequence_starts_with_the_shorter_one() -> None:
    assert config_sequence("local", 4, 50)[:20] == config_sequence("local", 4, 20)
    assert config_sequence("local", 4, 0) == []


def test_batch_sizes_cover_the_whole_range() -> None:
    sizes = {c["batch_size"] for c in config_sequence("sagemaker", 1, 2000)}
    assert sizes == set(range(16, 49))


def test_wrong_arguments_are_named() -> None:
    with pytest.raises(UsageError, match="'cloud'"):
        config_sequence("cloud", 0, 3)
    with pytest.raises(UsageError, match="n -1"):
        config_sequence("local", 0, -1)
