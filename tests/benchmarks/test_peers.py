"""The pipe to a peer, tried on asynctune itself, which needs no other environment."""

import pytest

from benchmarks.peers import process
from benchmarks.peers.process import PEERS, Peer, PeerError, find_peers, running
from benchmarks.peers.sampling import random_configs
from benchmarks.peers.space import Parameter

SPACE = (
    Parameter("x", low=0, high=1),
    Parameter("n", "int", low=1, high=9),
    Parameter("c", "choice", values=("a", "b")),
)


def test_points_come_first_and_trials_under_way_are_kept_apart():
    points = random_configs(SPACE, 3, seed=0)
    with running(PEERS["asynctune BO"], SPACE, seed=1, points=points) as peer:
        asked = [peer.ask() for _ in range(5)]
        assert [trial.config for trial, _ in asked[:3]] == list(points)
        assert [trial.number for trial, _ in asked] == [0, 1, 2, 3, 4]
        assert all(cost.wall > 0 for _, cost in asked)
        actions = [peer.tell(number, float(number))[0] for number in (4, 0, 2)]
        assert actions == ["complete"] * 3
        trial, _ = peer.ask()
        assert trial.number == 5
        assert set(trial.config) == {"x", "n", "c"}


def test_a_paused_trial_comes_back_with_the_level_that_it_has_reached():
    with running(PEERS["asynctune MOBSTER"], SPACE, seed=1, max_resource=9) as peer:
        trials = [peer.ask()[0] for _ in range(3)]
        actions = [peer.tell(t.number, float(t.number), 1)[0] for t in trials]
        assert "pause" in actions
        again, _ = peer.ask()
        assert (again.number, again.reached) == (0, 1)


def test_an_error_in_the_peer_is_told_here():
    with (
        running(PEERS["random"], SPACE, seed=1) as peer,
        pytest.raises(PeerError, match="no such trial was asked for"),
    ):
        peer.tell(7, 0.0)


def test_a_peer_that_ends_says_why():
    lost = Peer("lost", None, "no_such_module", "X")
    with (
        pytest.raises(PeerError, match=r"(?s)lost ended: .*no_such_module"),
        running(lost, SPACE, seed=1),
    ):
        pass


def test_a_missing_environment_gives_one_line_and_an_unknown_name_an_error(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(process, "ENVIRONMENTS", tmp_path)
    assert find_peers(["Optuna GP", "random"]) == [PEERS["random"]]
    assert capsys.readouterr().err == "Optuna GP is not installed: run make peers\n"
    with pytest.raises(PeerError, match=r"a peer must be one of .*got 'Optuna'"):
        find_peers(["Optuna"])
