import asyncio
import gc
import inspect
import math
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest

from asynctune.exceptions import DeadlockError, UsageError, VirtualTimeError
from asynctune.virtualtime import VirtualTimeLoop, current_loop, run

ROOT = Path(__file__).parents[1]


async def wait_and_note(seconds, what, trace):
    await anyio.sleep(seconds)
    trace.append((anyio.current_time(), what))


# What anyio offers follows the clock.


def test_sleep_moves_the_clock_exactly():
    async def main():
        assert anyio.current_time() == 0.0
        await anyio.sleep(3600)
        assert anyio.current_time() == 3600.0
        await anyio.sleep_until(1e9 + 0.1)
        return anyio.current_time()

    began = time.monotonic()
    assert run(main) == 1e9 + 0.1
    assert time.monotonic() - began < 60.0  # of 30 years


def test_timeouts_follow_the_clock():
    async def main():
        with anyio.move_on_after(10) as scope:
            await anyio.sleep_forever()
        assert scope.cancelled_caught
        assert anyio.current_time() == 10.0
        with pytest.raises(TimeoutError):
            with anyio.fail_after(7):
                await anyio.sleep(8)
        assert anyio.current_time() == 17.0
        with anyio.move_on_after(5):
            try:
                await anyio.sleep(100)
            finally:
                with anyio.CancelScope(shield=True):
                    await anyio.sleep(30)
        assert anyio.current_time() == 52.0  # 30 after the cancellation at 22
        async with asyncio.timeout(3):
            await asyncio.sleep(2)
        return anyio.current_time()

    assert run(main) == 54.0


def test_start_is_the_first_reading():
    async def main(a, b):
        return anyio.current_time(), a, b

    assert run(main, 1, 2, start=5.5) == (5.5, 1, 2)


@pytest.mark.parametrize("start", [-1.0, -1e-300, 2.0**31, math.inf, math.nan, 1.8e12])
def test_start_out_of_range_is_refused(start):
    with pytest.raises(UsageError, match=r"start of virtual time must be in \[0, 2\*\*31\)"):
        VirtualTimeLoop(start)


@pytest.mark.parametrize("start", [2.0**24 - 1, 2.0**24, 2.0**30, 2.0**31 - 1])
def test_large_times_neither_hang_nor_merge(start):
    async def main():
        trace = []
        async with anyio.create_task_group() as tg:
            for k in (3, 1, 2):
                tg.start_soon(wait_and_note, k * 1e-6, k, trace)
            tg.start_soon(wait_and_note, 1e-12, 0, trace)  # less than the clock can tell
        await anyio.sleep(1.0)
        assert [k for _, k in trace] == [0, 1, 2, 3]
        assert len({t for t, _ in trace}) == 4
        return anyio.current_time()

    assert run(main, start=start) == pytest.approx(start + 1.0 + 3e-6, abs=1e-6)


# Order.


def test_equal_stamps_are_first_in_first_out():
    async def main():
        trace = []
        loop = asyncio.get_running_loop()
        for k in range(5000):
            loop.call_at(float(k % 3), trace.append, (k % 3, k))
        async with anyio.create_task_group() as tg:
            tasks = []
            for k in range(5000, 5100):
                tg.start_soon(wait_and_note, 2, k, tasks)
            await anyio.sleep(3)
        assert trace == sorted(trace)
        assert tasks == [(2.0, k) for k in range(5000, 5100)]
        return len(trace)

    assert run(main) == 5000


def test_a_past_stamp_means_now_in_order():
    async def main():
        trace = []
        loop = asyncio.get_running_loop()
        await anyio.sleep(10)
        loop.call_at(10.0, trace.append, "a")
        loop.call_at(3.0, trace.append, "b")
        loop.call_later(-5.0, trace.append, "c")
        loop.call_at(10.0, trace.append, "d")
        loop.call_soon(trace.append, "soon")
        await anyio.sleep(1)
        assert anyio.current_time() == 11.0
        return trace

    assert run(main) == ["soon", "a", "b", "c", "d"]


def test_deadline_and_event_of_one_instant_go_by_the_order_of_setting():
    async def race(deadline_first):
        # The scope sets its timer before the sleep does.
        if deadline_first:
            with anyio.move_on_after(10) as scope:
                await anyio.sleep(10)
            return scope.cancelled_caught
        future = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_later(10, future.set_result, None)
        with anyio.move_on_after(10) as scope:
            await future
        return scope.cancelled_caught

    async def main():
        first = [await race(True) for _ in range(200)]
        second = [await race(False) for _ in range(200)]
        return set(first), set(second)

    assert run(main) == ({True}, {False})


def test_timers_of_one_instant_go_before_what_they_make_ready():
    async def main():
        trace = []
        loop = asyncio.get_running_loop()

        def first():
            loop.call_soon(note, "soon")
            loop.call_later(0, note, "at once")
            note("first")

        def note(what):
            trace.append((loop.time(), what))

        loop.call_at(5.0, first)
        loop.call_at(5.0, note, "second")
        loop.call_at(math.nextafter(5.0, 6.0), note, "later")
        await anyio.sleep(6)
        assert trace.pop() == (math.nextafter(5.0, 6.0), "later")
        return trace

    assert run(main) == [(5.0, what) for what in ("first", "second", "soon", "at once")]


TRACE_PROGRAM = """
import random
import anyio
from asynctune.virtualtime import run

async def trial(name, rng, events):
    for epoch in range(5):
        with anyio.move_on_after(rng.choice([0.5, 1.0, 2.0])) as scope:
            await anyio.sleep(rng.choice([0.5, 1.0, 2.0, rng.random()]))
        print(name, epoch, anyio.current_time().hex(), scope.cancelled_caught)
        if rng.random() < 0.3:
            events[rng.randrange(len(events))].set()

async def listen(k, event):
    await event.wait()
    print("event", k, anyio.current_time().hex())

async def main():
    events = [anyio.Event() for _ in range(10)]
    scopes = {}
    async def scoped(name):
        with anyio.CancelScope() as scopes[name]:
            await trial(name, random.Random(name), events)
    async with anyio.create_task_group() as tg:
        for k, event in enumerate(events):
            tg.start_soon(listen, k, event)
        for k in range(50):
            tg.start_soon(scoped, f"trial-{k}")
        await anyio.sleep(2.5)
        for name in list(scopes)[::3]:
            scopes[name].cancel()
        await anyio.sleep(30)
        for event in events:
            event.set()

run(main)
"""


def test_traces_are_the_same_bytes_in_every_process():
    def trace(**extra):
        env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path]), **extra}
        program = [sys.executable, "-c", TRACE_PROGRAM]
        return subprocess.run(program, env=env, check=True, capture_output=True, cwd=ROOT).stdout

    a = trace(PYTHONHASHSEED="1")
    assert a.count(b"\n") > 200
    assert trace(PYTHONHASHSEED="2", PYTHONMALLOC="malloc") == a


# Timers.


def test_cancelled_timers_do_not_go_off():
    async def main():
        trace = []
        errors = []
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: errors.append(context))
        timers = [loop.call_at(float(k), trace.append, k) for k in range(1, 300)]
        for timer in timers[::2]:
            timer.cancel()
            timer.cancel()  # no harm
        loop.call_at(7.0, timers[9].cancel)  # one instant with timer 10
        loop.call_at(12.0, timers[11].cancel)  # after timer 12 of the same instant has gone off
        loop.call_at(20.0, trace.append, "never").cancel()  # one instant with timer 20
        victims = []
        loop.call_at(400.0, lambda: [victim.cancel() for victim in victims])
        victims.append(loop.call_at(400.0, trace.append, "never"))  # due, but not yet called
        loop.call_soon(trace.append, "never").cancel()
        await anyio.sleep(1000)
        assert loop._timers_cancelled == 0
        assert errors == []
        return trace

    assert run(main) == [k for k in range(2, 300, 2) if k != 10]


def test_a_cancelled_timer_does_not_move_the_clock():
    async def main():
        loop = asyncio.get_running_loop()
        loop.call_at(50.0, int).cancel()
        await anyio.sleep(1.0)
        assert loop.try_advance(60.0)
        loop.call_at(70.0, int).cancel()
        await anyio.Event().wait()

    with pytest.raises(DeadlockError, match=r"at 60\.0 s"):
        run(main)


def test_cancelled_far_timers_are_pruned():
    async def main():
        loop = current_loop()
        keep = [loop.call_at(1e8 + k % 7, int) for k in range(50)]
        largest = 0
        for _ in range(5000):
            with anyio.move_on_after(1e9):
                await anyio.sleep(1)
            largest = max(largest, len(loop._timers))
        assert all(t._scheduled for t in keep)
        order = [entry[:2] for entry in sorted(loop._timers)]
        assert order[:50] == sorted(order[:50])
        return largest

    assert run(main) < 300


def test_a_timer_at_infinity_never_goes_off_and_one_at_nan_is_refused():
    async def main():
        loop = asyncio.get_running_loop()
        timer = loop.call_later(math.inf, int)
        assert timer.when() == math.inf
        timer.cancel()
        with pytest.raises(VirtualTimeError, match="must be a number; got nan"):
            loop.call_at(math.nan, int)
        await anyio.sleep_forever()

    with pytest.raises(DeadlockError):
        run(main)


# try_advance.


def test_try_advance_moves_the_clock_when_nothing_else_would_happen():
    async def main():
        loop = current_loop()
        assert loop.try_advance(5.0)
        assert loop.time() == anyio.current_time() == 5.0
        assert loop.try_advance(5.0)
        trace = []
        loop.call_at(8.0, trace.append, "timer")
        assert not loop.try_advance(math.nextafter(8.0, 9.0))
        assert loop.time() == 5.0
        assert loop.try_advance(8.0)  # a timer due then does not prevent it
        assert trace == []
        assert not loop.try_advance(9.0)  # but it comes first now
        await anyio.lowlevel.checkpoint()
        await anyio.lowlevel.checkpoint()
        assert trace == ["timer"]
        assert loop.try_advance(9.0)
        loop.call_soon(int)
        assert not loop.try_advance(9.0)
        assert not loop.try_advance(10.0)
        await anyio.lowlevel.checkpoint()
        return loop.try_advance(10.0)

    assert run(main)


def test_try_advance_respects_other_tasks():
    async def other(trace):
        for _ in range(10):
            await anyio.sleep(2.5)
            trace.append(anyio.current_time())

    async def main():
        loop = current_loop()
        trace = []
        async with anyio.create_task_group() as tg:
            tg.start_soon(other, trace)
            assert not loop.try_advance(1.0)  # the other task has not begun
            await anyio.lowlevel.checkpoint()
            for k in range(1, 31):
                if not loop.try_advance(float(k)):
                    await anyio.sleep_until(float(k))
                assert loop.time() == float(k)
                trace.append(float(k))
        return trace

    trace = run(main)
    assert trace == sorted(trace)
    assert len(trace) == 40


def test_try_advance_refuses_the_past():
    async def main(t):
        await anyio.sleep(4)
        current_loop().try_advance(t)

    for t in (3.0, math.nan, math.inf):
        with pytest.raises(VirtualTimeError, match=r"time moves forward only, from 4\.0; got"):
            run(main, t)


# Deadlock.


def test_deadlock_names_the_tasks():
    async def stuck_trial():
        await anyio.Event().wait()

    async def main():
        async with anyio.create_task_group() as tg:
            for k in range(3):
                tg.start_soon(stuck_trial, name=f"trial-{k}")
            await anyio.sleep(12.5)

    with pytest.raises(DeadlockError, match=r"at 12\.5 s .*trial-0, trial-1, trial-2"):
        run(main)


def test_deadlock_is_described_by_the_hook():
    async def main():
        current_loop().describe_waiters = lambda: "trials 4 and 7"
        await anyio.Event().wait()

    with pytest.raises(DeadlockError, match=r"stuck: trials 4 and 7$"):
        run(main)


def test_after_a_deadlock_tasks_clean_up():
    trace = []

    async def main():
        try:
            await anyio.Event().wait()
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(3)
            trace.append(anyio.current_time())

    with pytest.raises(DeadlockError):
        run(main, start=1.0)
    assert trace == [4.0]


def test_clean_up_after_an_error_is_not_disturbed_by_threads():
    trace = []

    async def main():
        loop = current_loop()
        try:
            await anyio.Event().wait()
        finally:
            thread = threading.Thread(target=loop.call_soon_threadsafe, args=(int,))
            thread.start()
            thread.join()
            with anyio.CancelScope(shield=True):
                await anyio.sleep(3)
            trace.append(anyio.current_time())

    with pytest.raises(DeadlockError):
        run(main)
    assert trace == [3.0]


# Conformance: the private parts of asyncio that the loop leans on.


def test_asyncio_has_the_private_parts():
    loop = VirtualTimeLoop()
    try:
        assert callable(asyncio.SelectorEventLoop._run_once)
        assert callable(asyncio.SelectorEventLoop._process_events)
        assert callable(asyncio.SelectorEventLoop._timer_handle_cancelled)
        assert len(loop._ready) == 0
        assert loop._stopping is False
        assert loop._selector.select(0) == []
        handle = loop.call_soon(int)
        assert loop._ready.popleft() is handle
        assert handle._run() is None
        timer = loop.call_at(1.0, int)
        assert timer._scheduled is True
        timer.cancel()
        assert loop._timers_cancelled == 1
    finally:
        loop.close()
    with pytest.raises(RuntimeError, match="closed"):
        loop.call_at(1.0, int)


def test_the_base_loop_does_not_go_its_own_ways():
    # Whatever asyncio itself schedules must come through our timers and our steps.
    source = inspect.getsource(asyncio.BaseEventLoop)
    scheduling = [line for line in source.splitlines() if "heappush" in line]
    assert len(scheduling) == 1  # in call_at, which is overridden
    assert "self._run_once()" in source


def test_errors_in_callbacks_reach_the_handler_and_the_loop_goes_on():
    async def main():
        seen = []
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: seen.append(context["exception"]))
        loop.call_later(1.0, lambda: 1 / 0)
        await anyio.sleep(2.0)
        return seen

    (error,) = run(main)
    assert isinstance(error, ZeroDivisionError)


def test_asyncio_debug_mode_works():
    with asyncio.Runner(debug=True, loop_factory=VirtualTimeLoop) as runner:
        trace = []
        runner.run(wait_and_note(5, "x", trace))
    assert trace == [(5.0, "x")]


def test_a_finished_run_leaves_nothing_behind():
    async def main():
        current_loop().call_later(1e6, int)
        await anyio.sleep(1)

    run(main)
    gc.collect()
    assert not [o for o in gc.get_objects() if type(o) is VirtualTimeLoop and not o.is_closed()]
