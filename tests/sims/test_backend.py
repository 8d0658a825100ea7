"""The simulated backend against what one works out by hand."""

import anyio
import numpy as np
import pytest

from asynctune import virtualtime
from asynctune.backends.base import BackendRequest
from asynctune.events import CapacityChanged, Cause, Ended, Failed, Paused, Report
from asynctune.exceptions import DeadlockError, UsageError, VirtualTimeError
from asynctune.orders import Expected, Order
from sims.backend import SimulatedBackend, simulated_backend
from sims.blackbox import Curve
from sims.cluster import ClusterProfile

PRICE = 3.6  # dollars an hour: a thousandth of a dollar a second


def blackbox(config):
    """Loss 1/epoch over nine epochs of the seconds that the config says."""
    epochs = np.arange(1, 10)
    return 1 / epochs, config["seconds"] * epochs


def order(trial=0, attempt=0, seconds=10.0, begin=0, until=9, free_since=None, slot=0):
    return Order(trial, attempt, slot, {"seconds": seconds}, begin, until, free_since)


def drive(script, box=blackbox, seed=0, begin=0.0, **profile):
    """Run `await script(backend)` in virtual time; returns what it returns."""
    settings = {"name": "mine", "startup_delay": 0.0, "prices": {"m": PRICE}}
    profile = ClusterProfile(**settings | {"instance_type": "m"} | profile)

    async def main():
        backend = SimulatedBackend(box, profile, metric="loss", seed=seed)
        await backend.open(virtualtime.current_loop().time)
        result = await script(backend)
        await backend.aclose(leave_running=False)
        return result

    return virtualtime.run(main, start=begin)


async def told(backend, until=1e6, stop=None):
    """Return all events up to a time, or up to the first one that `stop` accepts."""
    found = []
    while virtualtime.current_loop().time() < until:
        batch = await backend.events(until)
        assert all(event.time == virtualtime.current_loop().time() for event in batch)
        found += batch
        if stop is not None and batch and stop(batch[-1]):
            break
    return found


def history(orders, until=1e6, **profile):
    async def script(backend):
        for each in orders:
            await backend.start(each)
        return await told(backend, until)

    return drive(script, **profile)


def reports(events, trial=0):
    return [e for e in events if isinstance(e, Report) and e.trial == trial]


def test_two_trials_by_hand():
    events = history(
        [order(0, seconds=10.0, until=3), order(1, seconds=25.0, until=2, slot=1)],
        startup_delay=100.0,
        stop_delay=5.0,
        billed_startup=0.4,
    )
    billed = 0.4 * 100
    cost = lambda seconds: pytest.approx((billed + seconds) * PRICE / 3600)  # noqa: E731
    metrics = lambda epoch: {"loss": 1 / epoch}  # noqa: E731
    assert events == [
        Report(110.0, 0, 0, 0, 1, metrics(1), cost(10)),
        Report(120.0, 0, 0, 1, 2, metrics(2), cost(20)),
        Report(125.0, 1, 0, 0, 1, metrics(1), cost(25)),
        Report(130.0, 0, 0, 2, 3, metrics(3), cost(30)),
        Paused(135.0, 0, 0, 3, cost(35)),
        Report(150.0, 1, 0, 1, 2, metrics(2), cost(50)),
        Paused(155.0, 1, 0, 2, cost(55)),
    ]


def test_equal_stamps_come_in_the_order_of_the_starts():
    events = history([order(2), order(0, slot=1), order(1, slot=2)])
    for time in (10.0, 20.0):
        assert [e.trial for e in events if e.time == time] == [2, 0, 1]
    assert [(e.trial, type(e).__name__) for e in events if e.time == 90.0] == [
        (trial, name) for trial in (2, 0, 1) for name in ("Report", "Ended")
    ]


def test_the_last_level_of_the_curve_ends_the_trial():
    assert isinstance(history([order(until=9)])[-1], Ended)
    assert isinstance(history([order(until=8)])[-1], Paused)
    events = history([order(until=12)])
    assert isinstance(events[-1], Ended)
    assert len(reports(events)) == 9


def test_going_on_from_a_checkpoint():
    events = history([order(attempt=3, begin=4, until=6)], startup_delay=7.0)
    assert events[:2] == [
        Report(17.0, 0, 3, 0, 5, {"loss": 1 / 5}, pytest.approx(17 * PRICE / 3600)),
        Report(27.0, 0, 3, 1, 6, {"loss": 1 / 6}, pytest.approx(27 * PRICE / 3600)),
    ]
    assert events[2][:4] == (27.0, 0, 3, 6)


def test_without_checkpoints_nothing_is_kept():
    events = history([order(until=3)], checkpointing=False)
    assert events[-1][:4] == (30.0, 0, 0, 0)


@pytest.mark.parametrize(
    ("free_since", "start"), [(None, 200.0), (-60.0, 20.0), (-60.1, 200.0), (0.0, 20.0)]
)
def test_warm_and_cold_starts(free_since, start):
    events = history(
        [order(free_since=free_since)],
        startup_delay=200.0,
        warm_startup_delay=20.0,
        keep_alive=60.0,
    )
    assert events[0].time == start + 10.0


def test_without_a_warm_pool_every_start_is_cold():
    events = history([order(free_since=0.0)], startup_delay=200.0, warm_startup_delay=20.0)
    assert events[0].time == 210.0


def test_it_is_known_beforehand_when_a_script_will_run():
    async def script(backend):
        await anyio.sleep(7.0)
        ready = []
        for each in (order(0), order(1, slot=1, free_since=0.0), order(2, slot=2)):
            ready.append(backend.ready_at(each))
            await backend.start(each)
        events = await told(backend, 1e5)
        return ready, [reports(events, trial)[0].time for trial in range(3)]

    delays = {"startup_delay": 200.0, "warm_startup_delay": 20.0, "keep_alive": 60.0}
    ready, first = drive(script, startup_spread=0.5, **delays)
    assert first == pytest.approx([time + 10.0 for time in ready])
    assert ready[1] < ready[0] != ready[2]
    assert drive(script, **delays)[0] == [207.0, 27.0, 207.0]


def test_start_up_delays_spread_around_their_median():
    events = history(
        [order(t, until=1, slot=t) for t in range(2000)],
        startup_delay=200.0,
        startup_spread=0.5,
    )
    logs = np.log([(e.time - 10.0) / 200.0 for e in events if isinstance(e, Report)])
    assert len(logs) == 2000
    assert logs.mean() == pytest.approx(0, abs=0.04)
    assert logs.std() == pytest.approx(0.5, abs=0.03)


def test_stragglers_are_slow_all_the_way():
    events = history(
        [order(t, until=2, slot=t) for t in range(400)],
        straggler_probability=0.25,
        straggler_factor=3.0,
    )
    times = {t: tuple(e.time for e in reports(events, t)) for t in range(400)}
    assert set(times.values()) == {(10.0, 20.0), (30.0, 60.0)}
    assert sum(t == (30.0, 60.0) for t in times.values()) == pytest.approx(100, abs=30)


@pytest.mark.parametrize(
    ("name", "cause"),
    [("failure_rate", Cause.INFRASTRUCTURE), ("preemption_rate", Cause.PREEMPTION)],
)
def test_faults_come_at_their_rate(name, cause):
    # An hour of 900 s: with a rate of 4 an hour, 1 - 1/e of the attempts fail.
    events = history(
        [order(t, seconds=100.0, slot=t) for t in range(1000)],
        startup_delay=50.0,
        **{name: 4.0},
    )
    failed = [e for e in events if isinstance(e, Failed)]
    assert len(failed) == pytest.approx(1000 * (1 - np.exp(-1)), abs=60)
    assert {e.cause for e in failed} == {cause}
    for event in failed:
        assert 50.0 < event.time < 950.0
        assert event.resource == int((event.time - 50.0) // 100.0)
        assert len(reports(events, event.trial)) == event.resource
        assert event.cost == pytest.approx(event.time * PRICE / 3600)
        assert f"after {event.time - 50.0:.0f} s" in event.message
    elapsed = [e.time - 50.0 for e in failed]
    expected = 900.0 * (1 - 2 / np.e) / (1 - 1 / np.e)  # mean of what was cut off at 900 s
    assert np.mean(elapsed) == pytest.approx(expected, rel=0.06)


def test_a_failed_attempt_without_checkpoints_begins_from_scratch():
    events = history(
        [order(t, seconds=100.0, slot=t) for t in range(50)], failure_rate=4.0, checkpointing=False
    )
    assert {e.resource for e in events if isinstance(e, Failed)} == {0}


def test_capacity_is_told_first():
    assert history([order(until=1)], capacity=3)[0] == CapacityChanged(
        0.0, 3, "capacity of the cluster"
    )


# Commands.


def halted(command, after, **profile):
    """Return all events of a trial that is told to pause or stop after its k-th report."""

    async def script(backend):
        await backend.start(order())
        events = await told(backend, stop=lambda e: isinstance(e, Report) and e.index == after)
        await getattr(backend, command)(0, 0)
        return events, await told(backend, 1000.0)

    return drive(script, **profile)


@pytest.mark.parametrize("command", ["pause", "stop"])
def test_a_command_takes_its_delay(command):
    _, after = halted(command, 1, stop_delay=4.0)
    cost = pytest.approx(24 * PRICE / 3600)
    ended = Paused(24.0, 0, 0, 2, cost) if command == "pause" else Ended(24.0, 0, 0, cost)
    assert after == [ended]


@pytest.mark.parametrize("command", ["pause", "stop"])
def test_a_command_without_delay_takes_effect_at_once(command):
    _, after = halted(command, 1)
    assert [e.time for e in after] == [20.0]


def test_late_reports():
    # Epoch k is over at 10 k and told at 10 k + 25; the pause at 35 finds epoch 3 finished.
    before, after = halted("pause", 0, report_delay=25.0)
    assert [(e.time, e.resource) for e in reports(before)] == [(35.0, 1)]
    assert [(e.time, e.resource, e.index) for e in reports(after)] == [(45.0, 2, 1), (55.0, 3, 2)]
    assert after[-1] == Paused(60.0, 0, 0, 3, pytest.approx(60 * PRICE / 3600))


def test_reports_are_delayed_and_so_is_the_end():
    events = history([order(until=2)], report_delay=7.0)
    assert [e.time for e in events] == [17.0, 27.0, 27.0]
    events = history([order(until=2)], report_delay=7.0, stop_delay=9.0)
    assert [e.time for e in events] == [17.0, 27.0, 29.0]


def test_a_pause_before_the_script_runs():
    async def script(backend):
        await backend.start(order())
        await backend.events(30.0)
        await backend.pause(0, 0)
        return await told(backend, 1000.0)

    assert drive(script, startup_delay=50.0, stop_delay=4.0) == [Paused(34.0, 0, 0, 0, 0.034)]


def test_a_pause_of_an_attempt_that_goes_on_from_a_checkpoint_keeps_it():
    async def script(backend):
        await backend.start(order(begin=5))
        await backend.events(4.0)
        await backend.events(4.0)
        await backend.pause(0, 0)
        return await told(backend, 1000.0)

    assert drive(script)[-1][:4] == (4.0, 0, 0, 5)


def test_commands_are_idempotent_and_of_one_attempt():
    async def script(backend):
        await backend.start(order(attempt=1))
        await backend.start(order(attempt=1))
        events = await told(backend, 15.0)
        for command in (backend.pause, backend.stop):
            await command(0, 0)  # an attempt that is over
            await command(9, 0)  # a trial that never was
        await backend.pause(0, 1)
        await backend.pause(0, 1)
        return events + await told(backend, 1000.0)

    events = drive(script, stop_delay=3.0)
    assert [type(e) for e in events] == [Report, Paused]
    assert events[-1].time == 18.0


def test_a_stop_while_it_pauses():
    async def script(backend):
        await backend.start(order())
        await told(backend, 15.0)
        await backend.pause(0, 0)
        await told(backend, 17.0)
        await backend.stop(0, 0)
        return await told(backend, 1000.0)

    ends = drive(script, stop_delay=10.0)
    assert len(ends) == 1
    assert ends[0].time == 25.0  # the pause is under way: nothing is gained by the stop


def test_waiting_for_events_ends_at_the_time_given():
    async def script(backend):
        await backend.start(order())
        seen = [await backend.events(0.0), await backend.events(10.0), await backend.events(19.0)]
        return [[type(e) for e in batch] for batch in seen], virtualtime.current_loop().time()

    assert drive(script) == ([[], [Report], []], 19.0)


def test_nothing_to_wait_for_is_a_deadlock():
    async def script(backend):
        await backend.events(float("inf"))

    with pytest.raises(DeadlockError, match="running trials: none"):
        drive(script)


def test_others_in_the_loop_run_meanwhile():
    ticks = []

    async def script(backend):
        async def tick():
            while True:
                await anyio.sleep(3.7)
                ticks.append(anyio.current_time())

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(tick)
            await backend.start(order())
            events = await told(backend, 100.0)
            tasks.cancel_scope.cancel()
        return events

    alone = history([order()], 100.0)
    assert drive(script) == alone
    assert ticks == pytest.approx([3.7 * k for k in range(1, 28)])


def test_it_runs_under_virtual_time_only():
    async def main():
        profile = ClusterProfile(name="mine", startup_delay=0.0)
        await SimulatedBackend(blackbox, profile, metric="loss", seed=0).open(anyio.current_time)

    with pytest.raises(VirtualTimeError, match=r"must run inside virtualtime\.run"):
        anyio.run(main)


# Restart.


@pytest.mark.parametrize("cut", [0.0, 5.0, 50.0, 60.0, 65.0, 75.0, 85.0, 95.0])
@pytest.mark.parametrize("delay", [0.0, 25.0])
def test_what_is_recovered_goes_on_as_if_nothing_had_happened(cut, delay):
    profile = {
        "startup_delay": 50.0,
        "startup_spread": 0.3,
        "stop_delay": 12.0,
        "report_delay": delay,
        "straggler_probability": 0.5,
        "straggler_factor": 1.5,
        "failure_rate": 20.0,
    }
    orders = [order(t, seconds=10.0 + t, until=(9, 4)[t % 2], slot=t) for t in range(6)]
    commands = [(70.0, "pause", 0), (70.0, "stop", 1), (80.0, "pause", 2)]

    async def carry_on(backend, begin):
        events = []
        for time, command, trial in commands:
            if time >= begin:
                events += await told(backend, time)
                await getattr(backend, command)(trial, 0)
        return events + await told(backend, 500.0)

    async def whole(backend):
        for each in orders:
            await backend.start(each)
        return await carry_on(backend, 0.0)

    events = drive(whole, **profile)

    async def rest(backend):
        expected = []
        for each in orders:
            own = [e for e in events if e.trial == each.trial and e.time <= cut]
            if any(isinstance(e, Paused | Ended | Failed) for e in own):
                continue
            given = tuple(
                (word, time) for time, word, t in commands if t == each.trial and time < cut
            )
            count = sum(isinstance(e, Report) for e in own)
            expected.append(Expected(each, 0.0, bool(own), count, given))
        fates = await backend.recover(expected)
        assert fates == {(e.order.trial, 0): "running" for e in expected}
        return await carry_on(backend, cut)

    assert drive(rest, begin=cut, **profile) == [e for e in events if e.time > cut]


def test_a_trial_has_the_same_curve_whenever_it_runs():
    seeds = []

    class Noisy:
        def curve(self, config, seed):
            seeds.append(seed)
            return Curve({"loss": np.random.default_rng(seed).random(3)}, np.arange(1.0, 4.0))

    first = history([order(0), order(7, slot=1)], box=Noisy(), seed=40)
    again = history([order(7, attempt=2)], box=Noisy(), seed=40)
    assert [e.metrics for e in reports(again, 7)] == [e.metrics for e in reports(first, 7)]
    assert [e.metrics for e in reports(first, 0)] != [e.metrics for e in reports(first, 7)]
    assert seeds == [40, 47, 47]


def test_one_training_seed_for_all():
    seeds = []

    class Watched:
        def curve(self, config, seed):
            seeds.append(seed)
            return Curve({"loss": np.ones(1)}, np.ones(1), ("recorded",))

    async def main():
        profile = ClusterProfile(name="mine", startup_delay=0.0)
        backend = SimulatedBackend(Watched(), profile, metric="loss", seed=5, training_seed=1111)
        await backend.open(virtualtime.current_loop().time)
        for t in range(3):
            await backend.start(order(t, slot=t))
        return await told(backend, 2.0), backend.describe()

    events, described = virtualtime.run(main)
    assert seeds == [1111] * 3
    assert {e.source for e in events if isinstance(e, Report)} == {"recorded"}
    assert described["training_seed"] == 1111
    assert described["price_per_hour"] == 0.0


# What is refused.


@pytest.mark.parametrize(
    ("curve", "message"),
    [
        (([1, 2, 3], [1, 2, 2]), "seconds must be above 0 and increase"),
        (([1, 2, 3], [0, 1, 2]), "seconds must be above 0 and increase"),
        (([1, 2, 3], [-1, 1, 2]), "seconds must be above 0 and increase"),
        (([1, 2, 3], [1, float("nan"), 3]), "seconds must be above 0 and increase"),
        (([1, 2, 3], [float("nan"), 2, 3]), "seconds must be above 0 and increase"),
        (([1, 2, 3], [1, 2, float("inf")]), "seconds must be above 0 and increase"),
        (([1, 2], [1, 2, 3]), "one number a level"),
        (([], []), "one number a level"),
        ((1.0, 2.0), "one number a level"),
        (([[1, 2]], [[1, 2]]), "one number a level"),
    ],
)
def test_curves_that_are_none_are_refused(curve, message):
    with pytest.raises(UsageError, match=message):
        history([order()], box=lambda config: curve)


def test_a_metric_that_the_blackbox_does_not_return():
    class Other:
        def curve(self, config, seed):
            return Curve({"accuracy": np.ones(3)}, np.arange(1.0, 4.0))

    with pytest.raises(UsageError, match="must return the metric 'loss'; got accuracy"):
        history([order()], box=Other())


def test_what_is_no_blackbox():
    with pytest.raises(UsageError, match="must be a function or have a method curve; got 3"):
        history([order()], box=3)


def test_a_benchmark_without_a_blackbox():
    from asynctune.benchmark import Benchmark

    benchmark = Benchmark(
        name="real",
        space={},
        metric="loss",
        mode="min",
        resource="epoch",
        max_resource=9,
        max_wallclock_time=1.0,
        n_workers=1,
    )
    with pytest.raises(UsageError, match="benchmark real has no blackbox to simulate with"):
        simulated_backend(BackendRequest(benchmark, "local", 1, 0, {}))
