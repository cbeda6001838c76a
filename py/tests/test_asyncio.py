# SPDX-License-Identifier: MIT
"""asyncio and selectors, by the descriptor."""

import asyncio
import os
import selectors
import signal
import threading
import time

import eshm
import pytest


def test_await_gives_the_message(pair):
    master, slave = pair

    async def main():
        asyncio.get_running_loop().call_later(0.05, master.write, b"later")
        assert await slave.read_async() == b"later"
        master.write(b"there already")
        assert await slave.read_async(0) == b"there already"

    asyncio.run(main())


def test_other_tasks_run_meanwhile(pair):
    master, slave = pair

    async def main():
        reading = asyncio.ensure_future(slave.read_async())
        ticks = 0
        while ticks < 20:
            await asyncio.sleep(0.005)
            ticks += 1
        assert not reading.done()
        master.write(b"x")
        assert await reading == b"x"

    asyncio.run(main())


def test_messages_are_iterated_until_the_link_is_closed(pair):
    master, slave = pair

    async def main():
        got = []
        master.write(b"0")
        async for data in slave.messages():
            got.append(data)
            if len(got) == 5:
                slave.close()
            else:
                master.write(b"%d" % len(got))
        return got

    assert asyncio.run(main()) == [b"0", b"1", b"2", b"3", b"4"]


def test_await_times_out(pair):
    began = time.monotonic()
    with pytest.raises(eshm.Timeout):
        asyncio.run(pair[1].read_async(50))
    assert time.monotonic() - began >= 0.05


def test_a_cancelled_read_takes_nothing(pair):
    master, slave = pair

    async def main():
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(slave.read_async(), 0.05)
        master.write(b"for the next")
        assert await slave.read_async() == b"for the next"

    asyncio.run(main())


def test_several_tasks_may_wait_for_one_link(pair):
    master, slave = pair

    async def main():
        tasks = [asyncio.ensure_future(slave.read_async()) for _ in range(3)]
        got = set()
        for number in range(3):
            await asyncio.sleep(0.02)
            master.write(b"%d" % number)
            done, tasks = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            got |= {task.result() for task in done}
        assert got == {b"0", b"1", b"2"}

    asyncio.run(main())


def test_one_link_serves_one_loop_after_the_other(pair):
    master, slave = pair
    for number in range(3):
        threading.Timer(0.02, master.write, [b"%d" % number]).start()
        assert asyncio.run(slave.read_async()) == b"%d" % number


def test_ctrl_c_ends_an_await(pair):
    timer = threading.Timer(0.1, os.kill, [os.getpid(), signal.SIGINT])

    async def wait():
        timer.start()  # the runner has its handler by now
        await pair[1].read_async()

    with pytest.raises(KeyboardInterrupt):
        asyncio.run(wait())
    timer.join()


def test_selectors_see_a_message_and_its_end(pair):
    master, slave = pair
    with selectors.DefaultSelector() as selector:
        selector.register(slave, selectors.EVENT_READ)
        assert selector.select(0) == []
        master.write(b"x")
        [(key, _)] = selector.select()
        assert key.fileobj is slave
        assert slave.try_read() == b"x"
        threading.Timer(0.05, master.write, [b"y"]).start()
        selector.select()
        while (data := slave.try_read()) is None:  # it may be readable a little too early
            selector.select()
        assert data == b"y"
