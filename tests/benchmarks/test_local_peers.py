"""Other tuners' timed trials: Optuna's own, and Ray Tune's by a stand-in of what is used of it."""

import sys
from pathlib import Path

import pytest

from benchmarks import local_peers
from benchmarks.local_peers import OPTUNA, PYTHONS, RAY, installed, run_optuna, run_ray
from benchmarks.local_timing import Work, read_times
from benchmarks.peers.process import PeerError

# One trial after the other, in this process. As Ray does, it sets up one actor in vain.
STAND_IN = """
from types import SimpleNamespace as _Any

class Trainable:
    def __init__(self, config):
        self.setup(config)
    def cleanup(self):
        pass

RunConfig = TuneConfig = CheckpointConfig = FailureConfig = lambda **given: _Any(**given)

def uniform(low, high):
    return (low + high) / 2

class Tuner:
    def __init__(self, trainable, *, param_space, tune_config, run_config):
        self.made, self.space, self.how, self.run = trainable, param_space, tune_config, run_config

    def fit(self):
        self.made(self.space)
        actor = self.made(self.space)
        for n in range(self.how.num_samples):
            if n and not self.how.reuse_actors:
                actor = self.made(self.space)
            elif n:
                assert actor.reset_config(self.space)
            try:
                while actor.step()["epoch"] < self.run.stop["epoch"]:
                    pass
            except RuntimeError:
                return _Any(num_errors=1)
        actor.cleanup()
        return _Any(num_errors=0)
"""


@pytest.fixture
def times(tmp_path):
    folder = tmp_path / "times"
    folder.mkdir()
    return folder


@pytest.fixture
def ray(tmp_path, monkeypatch):
    """Put the stand-in where Ray would be."""
    package = tmp_path / "stand_in" / "ray"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("def init(**_): pass\ndef shutdown(): pass\n")
    (package / "tune.py").write_text(STAND_IN)
    monkeypatch.setenv("PYTHONPATH", str(package.parent))
    monkeypatch.setitem(PYTHONS, RAY, Path(sys.executable))


@pytest.fixture
def optuna(monkeypatch):
    """Have Optuna be in this environment."""
    monkeypatch.setitem(PYTHONS, OPTUNA, Path(sys.executable))


@pytest.mark.usefixtures("optuna")
@pytest.mark.parametrize("workers", [1, 2])
def test_optunas_processes_share_the_trials(times, workers):
    assert len(run_optuna(Work(3, workers, 2, 0.001), times)) == 6
    found = read_times(times)
    assert len(found.begun) == 3
    assert len(found.waited) == 6
    assert workers == 2 or min(found.handovers()) > 0


@pytest.mark.usefixtures("ray")
@pytest.mark.parametrize("way", ["command", "kept", "fresh"])
def test_rays_trials_are_timed_in_each_way(times, way):
    told = run_ray(Work(3, 1, 3, 0.001), times, way)
    assert len(told) == 6  # of a trial's last report it cannot be seen
    assert min(told) > 0
    found = read_times(times)
    assert len(found.begun) == 3
    assert {len(path.read_text().splitlines()) for path in times.iterdir()} == {1 + 3}
    assert min(found.handovers()) > 0
    assert all(end - begin > 0.003 for begin, end in zip(found.begun, found.last, strict=True))
    assert len(found.waited) == (9 if way == "command" else 0)  # the script's own notes


@pytest.mark.usefixtures("ray")
def test_trials_of_one_report_have_no_answer_that_ray_shows(times):
    assert run_ray(Work(2, 1, 1, 0.001), times, "kept") == []
    assert len(read_times(times).begun) == 2


@pytest.mark.usefixtures("ray", "optuna")
def test_a_tuner_that_fails_says_why(times):
    failing = Work(1, 1, 1, -1.0)
    with pytest.raises(PeerError, match=r"(?s)Ray Tune ended with status 1: .*1 trials failed"):
        run_ray(failing, times, "command")
    with pytest.raises(PeerError, match=r"(?s)Optuna ended with status 1: .*a trial ended"):
        run_optuna(failing, times)


def test_a_missing_environment_gives_a_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(PYTHONS, RAY, tmp_path / "python")
    assert not installed(RAY)
    assert capsys.readouterr().err == "Ray Tune is not installed: run make peers\n"
    monkeypatch.setitem(local_peers.PYTHONS, RAY, Path(sys.executable))
    assert installed(RAY)
    assert capsys.readouterr().err == ""
