import numpy as np
import pytest

from asynctune.asktell import AskTell
from asynctune.exceptions import UsageError
from asynctune.methods import Problem, make_method
from asynctune.searchers import tpe
from asynctune.searchers.base import NO_SNAPSHOT, Observation, Pending, Snapshot
from asynctune.searchers.random import InitialConfigs
from asynctune.searchers.tpe import TPESearcher
from asynctune.space import (
    ConfigSpace,
    choice,
    finrange,
    lograndint,
    loguniform,
    ordinal,
    randint,
    reverseloguniform,
    uniform,
)
from asynctune.testing import check_searcher


def test_says_what_is_missing(monkeypatch):
    def missing(name):
        raise ImportError(name)

    monkeypatch.setattr(tpe, "import_module", missing)
    problem = Problem(ConfigSpace({"x": uniform(0, 1)}), 9, 0)
    with pytest.raises(UsageError, match=r"TPE needs the package optuna; .*asynctune\[tpe\]"):
        make_method("TPE", problem)


class TestWithOptuna:
    @pytest.fixture(autouse=True)
    def _optuna(self):
        pytest.importorskip("optuna")

    SPACE = ConfigSpace(
        {
            "lr": loguniform(1e-5, 1),
            "width": lograndint(4, 256),
            "layers": randint(1, 4),
            "kind": choice(["a", "b", True]),
            "size": ordinal([16, 32, 64]),
            "share": finrange(0.1, 0.9, 9),
            "dropout": uniform(0, 0.9),
            "constant": "c",
        }
    )

    @staticmethod
    def loss(config):
        bad = (config["dropout"] - 0.3) ** 2 + (np.log10(config["lr"]) + 2) ** 2 / 4
        return bad + (config["kind"] != "b") + abs(config["layers"] - 3) / 4

    def searcher(self, space=None, seed=0, **settings):
        space = space or self.SPACE
        return TPESearcher(space, seed, InitialConfigs(space, seed), **settings)

    def snapshot(self, n, pending=()):
        configs = self.SPACE.sample(n, np.random.default_rng(0))
        log = [Observation(t, 9, self.loss(c)) for t, c in enumerate(configs)]
        waiting = tuple(Pending(c, 9) for c in pending)
        return Snapshot(configs, log, n, waiting, frozenset(), None)

    @pytest.mark.parametrize("multivariate", [True, False])
    def test_keeps_to_the_protocol(self, multivariate):
        def make():
            return self.searcher(num_init_random=3, multivariate=multivariate)

        check_searcher(make, self.SPACE, max_resource=9, n_proposals=12)

    def test_a_small_space_runs_out(self):
        space = ConfigSpace({"a": choice([1, 2, 3]), "b": choice(["x", "y"])})
        check_searcher(
            lambda: self.searcher(space, num_init_random=2), space, max_resource=9, n_proposals=9
        )

    def test_starts_with_the_configs_that_all_methods_start_with(self):
        initial = InitialConfigs(self.SPACE, 4)
        ours = self.searcher(seed=4)
        assert ours.propose(NO_SNAPSHOT, 0) == (0, initial.config(0), None, "points")
        state = self.snapshot(9)
        assert ours.propose(state, 9).config == initial.config(9)
        assert ours.propose(state, 10).origin == "model"
        assert ours.propose(NO_SNAPSHOT, 10).origin == "random"

    def test_is_what_optuna_suggests(self):
        import optuna

        ours = self.searcher(ConfigSpace({"x": uniform(0, 1)}), num_init_random=1)
        configs = [{"x": x} for x in np.linspace(0, 1, 12).tolist()]
        log = [Observation(t, 9, abs(c["x"] - 0.35)) for t, c in enumerate(configs)]
        seed = int(np.random.SeedSequence(0, spawn_key=(tpe.ROLE_TPE, 12)).generate_state(1)[0])
        study = optuna.create_study(
            sampler=optuna.samplers.TPESampler(seed=seed, n_startup_trials=0)
        )
        axis = {"x": optuna.distributions.FloatDistribution(0, 1)}
        for config, seen in zip(configs, log, strict=True):
            study.add_trial(
                optuna.create_trial(params=config, distributions=axis, value=seen.value)
            )
        state = Snapshot(configs, log, 12, (), frozenset(), None)
        assert ours.propose(state, 12).config == study.ask(axis).params

    def test_running_trials_count(self):
        state = self.snapshot(30)
        first = self.searcher().propose(state, 30).config
        with_pending = self.snapshot(30, pending=[first] * 8)
        assert self.searcher().propose(with_pending, 30).config != first

    def test_looks_where_it_was_good(self):
        found = [self.searcher().propose(self.snapshot(60), k).config for k in range(60, 80)]
        at_random = self.SPACE.sample(200, np.random.default_rng(1))
        ours, theirs = (np.median([self.loss(c) for c in some]) for some in (found, at_random))
        assert ours < 0.6 * theirs

    def test_is_asked_and_told_like_any_method(self):
        ours = AskTell({"x": uniform(0, 1)}, method="TPE", max_resource=1, seed=0)
        for _ in range(30):
            trial = ours.ask()
            ours.tell(trial, 1, (trial.config["x"] - 0.3) ** 2)
        assert ours.best.value < 1e-3
        again = AskTell.from_json(ours.to_json())
        assert again.ask() == ours.ask()

    def test_settings_are_checked_and_told(self):
        with pytest.raises(UsageError, match="num_init_random must be at least 1; got 0"):
            self.searcher(num_init_random=0)
        space = ConfigSpace({"m": reverseloguniform(0, 0.99)})
        with pytest.raises(UsageError, match="floats on a linear or log scale only; got reverse"):
            self.searcher(space)
        assert self.searcher(multivariate=True).describe() == {
            "searcher": "tpe",
            "num_init_random": 10,
            "multivariate": True,
        }
