# SPDX-License-Identifier: MIT
"""fork, spawn, pickling, exit, and coming back after kill -9."""

import glob
import multiprocessing
import os
import pickle
import time

import eshm
import pytest
from eshm import ESHM, ESHMRole

PATIENT = {"stale_threshold_ms": 10_000}


@pytest.mark.forks
def test_a_link_in_a_forked_child_raises_and_the_parent_goes_on(pair):
    master, slave = pair
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        words = []
        for call in (lambda: master.write(b"x"), master.read, slave.try_read, master.get_stats):
            try:
                call()
                words.append("worked")
            except eshm.Closed:
                words.append("Closed")
        master.close()
        slave.close()
        with ESHM(master.name + "_child", **PATIENT):
            words.append("own")
        os.write(writer, " ".join(words).encode())
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert status == 0
    assert os.read(reader, 100) == b"Closed Closed Closed Closed own"
    os.close(reader)
    os.close(writer)
    master.write(b"unharmed")
    assert slave.read() == b"unharmed"


@pytest.mark.forks
def test_a_child_forked_during_a_wait_can_close(pair, start_child):
    import threading

    master, slave = pair
    waiting = threading.Thread(target=lambda: slave.read(timeout_ms=-1))
    waiting.start()
    time.sleep(0.05)
    child = os.fork()
    if child == 0:
        slave.close()  # must not wait for a thread that does not exist here
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    master.write(b"end")
    waiting.join()


def test_pickling_a_link_says_what_to_do_instead(pair):
    with pytest.raises(TypeError, match="name"):
        pickle.dumps(pair[0])


def answer(name, count):
    with ESHM(name, ESHMRole.SLAVE, **PATIENT) as link:
        for _ in range(count):
            link.write(b"re: " + link.read(timeout_ms=60_000))


@pytest.mark.parametrize(
    "method", [pytest.param("fork", marks=pytest.mark.forks), "spawn", "forkserver"]
)
def test_multiprocessing_children_talk_by_every_start_method(name, method):
    context = multiprocessing.get_context(method)
    with ESHM(name, ESHMRole.MASTER, **PATIENT) as link:
        child = context.Process(target=answer, args=(name, 3))
        child.start()
        for number in range(3):
            link.write(b"%d" % number)
            assert link.read(timeout_ms=60_000) == b"re: %d" % number
        child.join()
        assert child.exitcode == 0


def test_the_exit_of_a_slave_unlinks_nothing(name, start_child):
    with ESHM(name, ESHMRole.MASTER, **PATIENT) as master:
        child = start_child(
            """
            import sys, eshm
            link = eshm.ESHM(sys.argv[1], eshm.ESHMRole.SLAVE, stale_threshold_ms=10000)
            link.write(b"here")
            """,
            name,
        )
        assert master.read(timeout_ms=60_000) == b"here"
        assert child.end() == (0, "", "")
        assert glob.glob(f"/dev/shm/*{name}*")
        with ESHM(name, ESHMRole.SLAVE, **PATIENT) as slave:
            master.write(b"still there")
            assert slave.read() == b"still there"


def test_the_exit_of_a_master_leaves_nothing_even_unclosed_in_a_cycle(name, start_child):
    child = start_child(
        """
        import sys, threading, eshm
        class Owner: pass
        owner = Owner()
        owner.self = owner
        owner.link = eshm.ESHM(sys.argv[1], eshm.ESHMRole.MASTER)
        threading.Thread(target=lambda: owner.link.read(timeout_ms=-1), daemon=True).start()
        threading.excepthook = lambda args: None
        """,
        name,
    )
    assert child.end()[0] == 0
    assert not glob.glob(f"/dev/shm/*{name}*")


TALK = """
    import sys, eshm
    role = eshm.ESHMRole[sys.argv[2]]
    link = eshm.ESHM(sys.argv[1], role, eshm.ESHMDisconnectBehavior.NEVER,
                     reconnect_wait_ms=0, max_reconnect_attempts=0,
                     backend=eshm.Backend[sys.argv[3]], stale_threshold_ms=10000)
    print("there", flush=True)
    number = 0
    while True:
        number += 1
        try:
            link.write(b"%d " % number * 20)
            link.read(timeout_ms=5)
        except (eshm.Timeout, eshm.RoleTaken):
            pass
"""


@pytest.mark.parametrize("killed", ["MASTER", "SLAVE"])
def test_the_link_comes_back_after_kill_9(name, backend, start_child, killed):
    mine = ESHMRole.SLAVE if killed == "MASTER" else ESHMRole.MASTER
    options = dict(backend=backend, reconnect_wait_ms=0, max_reconnect_attempts=0, **PATIENT)
    never = eshm.ESHMDisconnectBehavior.NEVER
    link = None if mine == ESHMRole.SLAVE else ESHM(name, mine, never, **options)
    child = start_child(TALK, name, killed, backend.name)
    link = link or ESHM(name, mine, never, **options)
    with link:
        for _ in range(5):
            for _ in range(20):
                words = link.read(timeout_ms=60_000).split()
                assert len(words) == 20 and len(set(words)) == 1
            child.kill()
            child = start_child(TALK, name, killed, backend.name)
        link.read(timeout_ms=60_000)
        child.kill()
