"""fork, spawn, pickling, exit, and kill -9."""

import glob
import multiprocessing
import os
import pickle
import random
import signal
import time

import eshm
import pytest
from eshm import ESHM, ESHMRole

PATIENT = {"stale_threshold_ms": 10_000}


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


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
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


CHAOS = """
    import os, random, signal, sys, threading, time
    import eshm
    name, role, backend, seed, operations = sys.argv[1:]
    chance = random.Random(int(seed))
    role = eshm.ESHMRole[role]
    def open_link():
        while True:
            try:
                return eshm.ESHM(name, role, reconnect_wait_ms=200, max_reconnect_attempts=0,
                                 reconnect_retry_interval_ms=10, backend=eshm.Backend[backend],
                                 stale_threshold_ms=10000,
                                 m2s=eshm.Channel(max_message_size=70000))
            except (eshm.Timeout, eshm.RoleTaken, eshm.SegmentError):
                pass
    def check(data):
        assert not data or data == data[:1] * len(data), data
    room = bytearray(70000)
    link = open_link()
    print("there", flush=True)
    done = good = 0
    while done < int(operations):
        done += 1
        try:
            what = chance.randrange(12)
            if what < 4:
                link.write(bytes([chance.randrange(256)]) * chance.choice([0, 1, 8, 64, 500, 4096]))
            elif what < 8:
                data = link.try_read(70000)
                good += data is not None
                check(data)
            elif what == 8:
                check(link.read(70000, chance.choice([0, 0, 0, 1])))
            elif what == 9:
                size = link.read_into(room, 0)
                check(room[:size])
            elif what == 10:
                link.get_stats(), link.is_remote_alive(), link.get_remote_state()
            elif chance.randrange(100) == 0:
                link.close()
                link = open_link()
        except (eshm.Timeout, eshm.Error):
            if chance.randrange(20) == 0:
                link.close()
                link = open_link()
    link.close()
    print("done", good, flush=True)
"""


def test_random_operations_under_kill_9_crash_nobody(name, backend, start_child):
    """The victim is killed again and again; the survivor does all its operations."""
    seed = int(os.environ.get("ESHM_SEED", 1))
    operations = 1_000_000 if os.environ.get("ESHM_SOAK") else 100_000
    chance = random.Random(seed)
    victim = start_child(CHAOS, name, "MASTER", backend.name, seed, 10**9)
    victim.line()
    survivor = start_child(CHAOS, name, "SLAVE", backend.name, seed + 1, operations)
    survivor.line()
    kills = 0
    while survivor.process.poll() is None:
        time.sleep(chance.random() * 0.1)
        os.kill(victim.pid, signal.SIGKILL)
        victim.process.wait()
        kills += 1
        victim = start_child(CHAOS, name, "MASTER", backend.name, seed + kills, 10**9)
        victim.line()
    victim.kill()
    code, out, err = survivor.end()
    assert code == 0, err
    word, good = out.split()
    assert word == "done" and int(good) > 0 and kills > 0
    # The killed master left its name: the next one starts afresh and removes it.
    ESHM(name, ESHMRole.MASTER, backend=backend).close()
