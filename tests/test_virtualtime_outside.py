"""Virtual time and what lies outside of it: IO, threads, signals, other loops."""

import asyncio
import inspect
import os
import signal
import socket
import sys
import threading
import time

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest

from asynctune.exceptions import DeadlockError, UsageError, VirtualTimeError
from asynctune.virtualtime import REFUSED, current_loop, in_virtual_time, run

# The outside world.


@pytest.mark.parametrize("name", REFUSED)
def test_outside_work_is_refused_at_the_call(name):
    async def main():
        method = getattr(asyncio.get_running_loop(), name)
        method(None, None)

    with pytest.raises(VirtualTimeError, match=rf"got a call of the loop's {name}\(\)"):
        run(main)


def test_the_list_of_refused_methods_is_complete():
    harmless = (
        "call_at call_exception_handler call_later call_soon call_soon_threadsafe close "
        "create_future create_task default_exception_handler get_debug get_exception_handler "
        "get_task_factory is_closed is_running run_forever run_until_complete "
        "set_debug set_default_executor set_exception_handler set_task_factory "
        "shutdown_asyncgens shutdown_default_executor stop time "
        "remove_reader remove_writer add_signal_handler remove_signal_handler"
    )
    public = {
        name
        for name, _ in inspect.getmembers(asyncio.SelectorEventLoop, callable)
        if not name.startswith("_")
    }
    assert public - set(REFUSED) - set(harmless.split()) == set()
    assert all(hasattr(asyncio.AbstractEventLoop, name) for name in REFUSED)


async def use_executor():
    await asyncio.to_thread(int)


async def use_socket():
    await anyio.connect_tcp("127.0.0.1", 9)


async def use_name():
    await anyio.getaddrinfo("localhost", 80)


async def use_listener():
    await anyio.create_tcp_listener(local_host="127.0.0.1")


async def use_process():
    await anyio.run_process([sys.executable, "--version"])


async def use_reader():
    a, b = socket.socketpair()
    with a, b:
        await anyio.wait_readable(a)


@pytest.mark.parametrize(
    "work", [use_executor, use_socket, use_name, use_listener, use_process, use_reader]
)
def test_outside_work_through_libraries_is_refused(work):
    async def main():
        # Something else that would let time pass
        async with anyio.create_task_group() as tg:
            tg.start_soon(anyio.sleep, 3600)
            await work()

    with pytest.raises(BaseExceptionGroup) as caught:
        run(main)
    assert caught.group_contains(VirtualTimeError) or caught.group_contains(DeadlockError)


def test_a_thread_poisons_the_loop():
    release = threading.Event()

    async def clock():
        while True:
            await anyio.sleep(1)
            release.set()

    async def main():
        async with anyio.create_task_group() as tg:
            tg.start_soon(clock)
            await anyio.to_thread.run_sync(release.wait)

    with pytest.raises(
        VirtualTimeError, match="virtual time cannot wait for other threads; thread"
    ):
        run(main)


def test_a_thread_alone_is_a_deadlock():
    async def main():
        await anyio.to_thread.run_sync(time.sleep, 0.05)

    with pytest.raises(DeadlockError, match="does not wait for threads"):
        run(main)
    time.sleep(0.1)  # the thread ends before the next test


def test_a_thread_poisons_try_advance_too():
    async def main():
        loop = current_loop()
        thread = threading.Thread(target=loop.call_soon_threadsafe, args=(int,))
        thread.start()
        thread.join()
        assert not loop.try_advance(1.0)
        await anyio.lowlevel.checkpoint()

    with pytest.raises(VirtualTimeError, match="other threads"):
        run(main)


def test_the_loops_own_thread_may_call_threadsafe():
    async def main():
        done = anyio.Event()
        asyncio.get_running_loop().call_soon_threadsafe(done.set)
        await done.wait()
        return anyio.current_time()

    assert run(main) == 0.0


# Signals.


@pytest.mark.skipif(sys.platform == "win32", reason="asyncio has no signal handlers there")
def test_signals_are_seen_while_virtual_time_runs():
    async def pump(stop, step):
        loop = current_loop()
        while not stop.is_set():
            t = loop.time() + 1.0
            if not (step and loop.try_advance(t)):
                await anyio.sleep_until(t)

    async def main(step):
        stop = anyio.Event()
        with anyio.open_signal_receiver(signal.SIGUSR1) as signals:
            async with anyio.create_task_group() as tg:
                tg.start_soon(pump, stop, step)
                await anyio.sleep(100)
                os.kill(os.getpid(), signal.SIGUSR1)
                async for _ in signals:
                    stop.set()
                    break
        return anyio.current_time()

    for step in (False, True):
        assert 100.0 <= run(main, step) < 1000.0


@pytest.mark.parametrize("step", [False, True])
def test_ctrl_c_ends_the_run(step):
    async def main():
        loop = current_loop()
        while True:
            t = loop.time() + 1.0
            if t == 100_000.0:
                signal.raise_signal(signal.SIGINT)
            if not (step and loop.try_advance(t)):
                await anyio.sleep_until(t)

    with pytest.raises(KeyboardInterrupt):
        run(main)


def test_interrupt_holds_the_clock():
    moved = []

    async def main():
        loop = current_loop()
        moved.append(loop.try_advance(1.0))
        loop.interrupt()
        moved.append(loop.try_advance(2.0))
        await anyio.lowlevel.checkpoint()

    with pytest.raises(KeyboardInterrupt):
        run(main)
    assert moved == [True, False]


def test_interrupt_from_another_thread():
    async def main():
        loop = current_loop()
        threading.Thread(target=loop.interrupt).start()
        for _ in range(10**9):
            await anyio.sleep(1)

    with pytest.raises(KeyboardInterrupt):
        run(main)


# Nesting.


def test_run_inside_a_running_loop():
    async def inner(x):
        assert in_virtual_time()
        await anyio.sleep(1000)
        return x, anyio.current_time()

    async def failing():
        await anyio.Event().wait()

    async def outer():
        before = asyncio.get_running_loop()
        assert not in_virtual_time()
        assert run(inner, 7, start=2.0) == (7, 1002.0)
        with pytest.raises(DeadlockError):
            run(failing)
        with pytest.raises(UsageError):
            run(inner, 7, start=-1.0)
        assert asyncio.get_running_loop() is before

    asyncio.run(outer())
    run_nested_in_virtual = run(inner_in_virtual)
    assert run_nested_in_virtual == (5.0, 1.0)


async def inner_in_virtual():
    async def one():
        await anyio.sleep(1)
        return anyio.current_time()

    await anyio.sleep(5)
    inner = run(one)
    return anyio.current_time(), inner


@pytest.mark.skipif(sys.platform == "win32", reason="a signal cannot be sent to a thread there")
def test_ctrl_c_reaches_a_nested_run():
    main_thread = threading.get_ident()

    async def forever():
        signal.pthread_kill(main_thread, signal.SIGINT)
        for _ in range(10**9):
            await anyio.sleep(1)

    async def outer():
        run(forever)

    # The handler of plain Python, which raises in the main thread, as in a notebook.
    loop = asyncio.new_event_loop()
    with pytest.raises(KeyboardInterrupt):
        loop.run_until_complete(outer())
    loop.close()


def test_current_loop():
    async def main():
        assert current_loop() is asyncio.get_running_loop()
        return in_virtual_time()

    assert current_loop() is None
    assert not in_virtual_time()
    assert run(main) is True
    assert asyncio.run(main_on_real_time()) == (None, False)


async def main_on_real_time():
    return current_loop(), in_virtual_time()
