"""The benchmark and its blackbox."""

import subprocess
import sys

import numpy as np
import pytest

from sims.transformer_wikitext2 import load_blackbox
from sims.transformer_wikitext2.sequences import config_sequence


@pytest.fixture(scope="module")
def box():
    return load_blackbox()


def test_importing_the_definition_is_light() -> None:
    code = (
        "import sys, sims.transformer_wikitext2; "
        "assert not {'polars', 'scipy', 'torch'} & set(sys.modules), sorted(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)  # noqa: S603 - our own code


def test_recorded_epochs_are_replayed_as_recorded(box) -> None:
    # Read off the figure: RS, trial 3, epochs 1 to 4.
    curve = box.curve(config_sequence("local", 0, 4)[3], 0)
    assert curve.values["val_loss"][:4] == pytest.approx([9.9233, 9.0273, 8.5928, 8.3], abs=0.02)
    assert set(curve.source) == {"recorded"}
    assert curve.seconds[0] == pytest.approx(50.35)
    assert np.all(np.diff(curve.seconds) > 0)


def test_other_configs_come_from_the_surrogate(box) -> None:
    curve = box.curve(config_sequence("sagemaker", 0, 3)[2], 0)
    assert "recorded" not in curve.source
    assert curve.values["val_loss"].shape == curve.seconds.shape == (40,)


def test_a_config_and_a_seed_fix_the_curve(box) -> None:
    configs = config_sequence("sagemaker", 1, 6)
    batch = box.curves(configs, [7] * 6)
    for config, curve in zip(configs, batch, strict=True):
        alone = box.curve(config, 7)
        assert np.allclose(alone.values["val_loss"], curve.values["val_loss"], atol=1e-9)
        assert np.array_equal(alone.seconds, curve.seconds)
    other = box.curve(configs[3], 8)
    assert not np.array_equal(other.values["val_loss"], batch[3].values["val_loss"])
