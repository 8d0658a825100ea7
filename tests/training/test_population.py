"""A population trains each member as the training script would train it alone."""

from contextlib import nullcontext

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the collector needs torch: pip install .[train]")

from asynctune import UsageError  # noqa: E402
from sims.transformer_wikitext2.population import graphs, head, update  # noqa: E402
from sims.transformer_wikitext2.population.cost import (  # noqa: E402
    Device,
    Problem,
    epoch_flop,
    limit,
    peak,
)
from sims.transformer_wikitext2.population.operations import Operations, check, choose  # noqa: E402
from sims.transformer_wikitext2.population.trainer import (  # noqa: E402
    OutOfTimeError,
    Population,
)
from sims.transformer_wikitext2.training.batches import fold  # noqa: E402
from sims.transformer_wikitext2.training.loop import evaluate, train_epoch  # noqa: E402
from sims.transformer_wikitext2.training.model import initial_model  # noqa: E402
from sims.transformer_wikitext2.training.settings import Settings, Shape  # noqa: E402
from sims.transformer_wikitext2.training.text import load  # noqa: E402

CPU = torch.device("cpu")
SHAPE = Shape(d_model=16, nhead=2, nlayers=2, bptt=7)
EPOCHS = 3


@pytest.fixture(scope="module")
def text(folder):
    return load(folder)


def settings(**given):
    plain = {"lr": 0.3, "dropout": 0.0, "batch_size": 4, "momentum": 0.5, "clip": 0.5}
    return Settings(**(plain | {"shape": SHAPE, "precision": "double"} | given))


MEMBERS = [
    settings(),
    settings(lr=0.02, momentum=0.0, clip=0.0),
    settings(lr=0.1, momentum=0.9, clip=0.05),
    settings(lr=0.5, momentum=0.3, clip=1.0, seed=5),
]


def by_script(one, text, epochs=EPOCHS):
    """Return (training loss, validation loss) after each epoch, as the script finds them."""
    training, validation = fold(text.train, one.batch_size, CPU), fold(text.valid, 10, CPU)
    model = initial_model(one, text.n_words)
    model = model.double() if one.precision == "double" else model
    optimizer = torch.optim.SGD(model.parameters(), lr=one.lr, momentum=one.momentum)
    found = [
        (train_epoch(model, optimizer, training, one), evaluate(model, validation, one))
        for _ in range(epochs)
    ]
    return np.array(found)


def by_population(members, text, epochs=EPOCHS, operations=None):
    """Return the same of all members, shape ``(M, epochs, 2)``."""
    population = Population(members, text, CPU, operations or choose(CPU, members[0].precision))
    found = [(population.train_epoch(), population.evaluate()) for _ in range(epochs)]
    return np.array(found).transpose(2, 0, 1)


def test_a_member_is_trained_as_the_script_trains_it(text):
    found = by_population(MEMBERS, text)
    for one, curve in zip(MEMBERS, found, strict=True):
        np.testing.assert_allclose(curve, by_script(one, text), rtol=1e-9)
    assert len({round(float(c[-1, 1]), 6) for c in found}) == len(MEMBERS)


def test_in_float32_the_curves_agree_to_its_precision(text):
    members = [settings(precision="float", lr=lr, clip=0.2) for lr in (0.05, 0.2)]
    for one, curve in zip(members, by_population(members, text), strict=True):
        np.testing.assert_allclose(curve, by_script(one, text), rtol=2e-5)


def test_in_bf16_the_curves_stay_close(text):
    members = [settings(precision="bf16", lr=0.2)]
    (curve,) = by_population(members, text)
    np.testing.assert_allclose(curve, by_script(settings(lr=0.2), text), atol=0.03)


def test_members_do_not_touch_each_other_even_if_one_diverges(text):
    wild = settings(lr=1e6, momentum=0.99, clip=0.0)
    together = by_population([wild, *MEMBERS[:2]], text)
    assert not np.isfinite(together[0, -1]).all()
    np.testing.assert_allclose(together[1:], by_population(MEMBERS[:2], text), rtol=1e-9)


def test_what_a_member_drops_does_not_depend_on_the_others(text):
    one, other, without = (settings(dropout=p, lr=0.1) for p in (0.4, 0.7, 0.0))
    alone = by_population([one], text)
    np.testing.assert_allclose(by_population([other, without, one], text)[2:], alone, rtol=1e-9)


def test_with_dropout_the_curves_agree_in_distribution(text):
    members = [settings(dropout=0.4, seed=s, precision="float") for s in range(8)]
    ours = by_population(members, text, 2)[:, -1]
    theirs = np.array([by_script(one, text, 2)[-1] for one in members])
    # Both start at the same weights, so that only what was dropped differs.
    difference = ours - theirs
    error = difference.std(axis=0, ddof=1) / np.sqrt(len(members))
    assert (np.abs(difference.mean(axis=0)) < 4 * error + 1e-3).all()
    without = by_population([settings(precision="float")], text, 2)[0, -1]
    assert (np.abs(ours.mean(axis=0) - without) > 10 * error).all()  # it does make a difference


@pytest.mark.parametrize("limit", [1, 3_000, 40_000])
def test_the_output_layer_in_pieces_is_the_whole(text, limit):
    pieces = Operations(head.row_loss, update.descend, limit=limit)
    found = by_population(MEMBERS, text, epochs=1, operations=pieces)
    np.testing.assert_allclose(found, by_population(MEMBERS, text, epochs=1), rtol=1e-10)


@pytest.mark.parametrize("captures", [True, False])
def test_replayed_steps_are_the_same_steps(text, monkeypatch, captures):
    """What a GPU does with graphs, their capture replaced by the step itself."""
    taken = {"replayed": 0, "warm": 0}

    def warm_up(step, device):
        for _ in range(graphs.WARM_UP):
            taken["warm"] += 1
            step()

    def capture(step):
        if not captures:
            raise RuntimeError("it has something in it")

        def replay():
            taken["replayed"] += 1
            step()

        return replay

    monkeypatch.setattr(graphs, "warm_up", warm_up)
    monkeypatch.setattr(graphs, "capture", capture)
    replayed = Operations(head.row_loss, update.descend, replayed=True)
    with nullcontext() if captures else pytest.warns(UserWarning, match="one by one: it has"):
        found = by_population(MEMBERS, text, operations=replayed)
    np.testing.assert_array_equal(found, by_population(MEMBERS, text))
    steps = len(Population(MEMBERS, text, CPU)._training[0].tokens)
    assert taken["warm"] == graphs.WARM_UP
    assert taken["replayed"] == (EPOCHS * steps - graphs.WARM_UP if captures else 0)


def test_a_state_is_all_that_training_goes_on_from(text):
    whole = by_population(MEMBERS, text)
    first, second = (Population(MEMBERS, text, CPU) for _ in range(2))
    first.train_epoch()
    second.restore(first.state())
    second.train_epoch()
    np.testing.assert_array_equal(second.evaluate(), whole[:, 1, 1])
    assert second.epoch == 2


def test_an_epoch_can_be_broken_off(text):
    population = Population(MEMBERS, text, CPU)
    with pytest.raises(OutOfTimeError):
        population.train_epoch(lambda: True)
    assert population.epoch == 0


def test_members_must_go_together(text):
    with pytest.raises(UsageError, match="the same batch_size"):
        Population([settings(), settings(batch_size=5)], text, CPU)
    with pytest.raises(UsageError, match="at least one member"):
        Population([], text, CPU)


def test_operations_are_checked_before_they_are_trusted():
    check(head.row_loss, update.descend, CPU)

    def wrong_loss(logits, bias, targets, *, with_gradient):
        losses, slopes = head.row_loss(logits, bias, targets, with_gradient=with_gradient)
        return losses * 1.001, slopes

    with pytest.raises(ArithmeticError, match="loss: relative error"):
        check(wrong_loss, update.descend, CPU)

    def forgets_momentum(weights, momentum, gradient, copy, rates, factor):
        momentum.zero_()
        update.descend(weights, momentum, gradient, copy, rates, factor)

    with pytest.raises(ArithmeticError, match="relative error"):
        check(head.row_loss, forgets_momentum, CPU)


def test_rows_that_coast_are_where_step_by_step_takes_them():
    rng = np.random.default_rng(0)
    weights, momentum = rng.standard_normal((2, 2, 3, 4))
    rates = update.Rates(
        *(torch.tensor(v, dtype=torch.float64) for v in ([0.1, 0.5], [0.9, 0.0], [0.0, 0.0]))
    )
    rows = update.Rows(torch.tensor(weights), torch.tensor(momentum))
    found = update.caught_up(rows, torch.tensor([0, 1, 7]), rates)
    for member, (lr, mu) in enumerate([(0.1, 0.9), (0.5, 0.0)]):
        for row, missed in enumerate([0, 1, 7]):
            w, m = weights[member, row].copy(), momentum[member, row].copy()
            for _ in range(missed):
                m = mu * m
                w = w - lr * m
            np.testing.assert_allclose(found.weights[member, row], w, rtol=1e-12)
            np.testing.assert_allclose(found.momentum[member, row], m, rtol=1e-12)


def test_an_epoch_of_the_full_problem_costs_what_it_is_known_to_cost():
    flop = epoch_flop(Shape(), 33_278, 2_088_628, 217_646)
    assert flop == pytest.approx(116e12, rel=0.05)
    assert 1e9 < peak(CPU, "float") < 1e14


def test_the_full_problem_is_limited_by_memory_traffic():
    problem = Problem(Shape(), 33_278, 2_088_628, 217_646, "bf16")
    # In a step: 1,120 rows of logits of two bytes seven times; weights of 16 + 12 bytes.
    steps = 2_088_628 / 1_120
    a_step = 33_278 * (7 * 2 * 1_120 + 256 * (5 * 2 + 4 * 4 + 2))
    evaluated = 33_278 * 217_646 * 2 * 2
    assert problem.traffic(32) == pytest.approx(steps * a_step + evaluated)
    assert problem.evaluation_share == pytest.approx(0.0347, rel=0.01)
    best = Device(peak=989e12, bandwidth=4.8e12)
    assert problem.traffic(32) / 4.8e12 > problem.flop / 989e12
    assert best.speed(problem, 32, epochs=8, seconds=4.0) == (
        "242 TFLOP/s, 24% of the device's peak and 60% of its memory's, limited by memory traffic"
    )
    assert Device(None, None).speed(problem, 32, 8, 4.0) == "242 TFLOP/s"
    assert limit(0.7, 0.5) == "limited by arithmetic"
    assert limit(0.1, 0.2) == "limited by neither"
