# SPDX-License-Identifier: MIT
"""What programs written for the original rely on, and the messages' way."""

import array
import glob
import os
import time

import eshm
import pytest
from eshm import ESHM, ESHMDisconnectBehavior, ESHMError, ESHMRole


def test_enums_have_the_numbers_of_the_c_header():
    assert [(r.name, r.value) for r in ESHMRole][:3] == [("MASTER", 0), ("SLAVE", 1), ("AUTO", 2)]
    assert [(b.name, b.value) for b in ESHMDisconnectBehavior] == [
        ("IMMEDIATELY", 0),
        ("ON_TIMEOUT", 1),
        ("NEVER", 2),
    ]
    names = (
        "SUCCESS INVALID_PARAM SHM_CREATE SHM_ATTACH SHM_DETACH SHM_DELETE MUTEX_INIT MUTEX_LOCK "
        "MUTEX_UNLOCK NO_DATA TIMEOUT MASTER_STALE BUFFER_FULL BUFFER_TOO_SMALL NOT_INITIALIZED "
        "ROLE_MISMATCH"
    ).split()
    assert [e.name for e in ESHMError][: len(names)] == names
    assert [e.value for e in ESHMError] == [-i for i in range(len(ESHMError))]


def test_constructor_takes_the_nine_fields_by_position(name):
    with ESHM(
        name, ESHMRole.MASTER, ESHMDisconnectBehavior.NEVER, 200, 1000, 50, 7, True, False
    ) as link:
        assert link.get_role() is ESHMRole.MASTER
        assert link.get_stats()["stale_threshold"] == 200


def test_first_is_master_and_second_is_slave(name):
    with ESHM(name) as first, ESHM(name) as second:
        assert first.get_role() is ESHMRole.MASTER
        assert second.get_role() is ESHMRole.SLAVE


def test_message_arrives_each_way(pair):
    master, slave = pair
    master.write(b"down")
    slave.write(b"up")
    assert slave.read() == b"down"
    assert master.read() == b"up"


@pytest.mark.parametrize("size", [0, 1, 7, 8, 47, 48, 49, 63, 64, 4095, 4096])
def test_every_size_comes_as_it_was(pair, size):
    master, slave = pair
    message = os.urandom(size)
    master.write(message)
    assert slave.try_read() == message


@pytest.mark.parametrize("size", [4097, 65_536, 300_000, 3_000_000])
def test_large_message_comes_as_it_was(make_pair, size):
    master, slave = make_pair(m2s=eshm.Channel(max_message_size=3_000_000))
    for read in (
        lambda: slave.read(buffer_size=size),
        lambda: slave.try_read(size),
        lambda: slave.read_msg().data,
    ):
        message = os.urandom(size)
        master.write(message)
        assert read() == message
        master.write(b"small again")
        assert slave.read() == b"small again"


def test_newest_value_wins_and_is_given_once(pair):
    master, slave = pair
    for text in (b"1", b"2", b"3"):
        master.write(text)
    assert slave.read() == b"3"
    assert slave.try_read() is None


def test_reader_gets_what_was_written_before_it_came(name):
    with ESHM(name, ESHMRole.MASTER) as master:
        master.write(b"early")
        with ESHM(name, ESHMRole.SLAVE) as slave:
            assert slave.read() == b"early"


def test_read_times_out_with_timeout_error_after_its_time(pair):
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        pair[1].read(timeout_ms=50)
    assert time.monotonic() - began >= 0.05


def test_read_waits_a_second_where_nothing_is_said(pair):
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        pair[1].read()
    assert time.monotonic() - began >= 1.0


def test_read_without_waiting_raises_and_try_read_gives_none(pair):
    with pytest.raises(TimeoutError):
        pair[1].read(timeout_ms=0)
    assert pair[1].try_read() is None


def test_stats_have_the_names_of_the_c_struct(pair):
    master, slave = pair
    master.write(b"x")
    slave.read()
    stats = slave.get_stats()
    assert list(stats) == [
        "master_heartbeat",
        "slave_heartbeat",
        "master_pid",
        "slave_pid",
        "master_alive",
        "slave_alive",
        "stale_threshold",
        "master_heartbeat_delta",
        "slave_heartbeat_delta",
        "m2s_write_count",
        "m2s_read_count",
        "s2m_write_count",
        "s2m_read_count",
    ]
    assert stats["master_pid"] == stats["slave_pid"] == os.getpid()
    assert stats["master_alive"] is True
    assert stats["m2s_write_count"] == 1
    assert slave.get_stats_ex()["peer_state"] is eshm.PeerState.ALIVE


def test_remote_is_not_alive_before_it_came(name):
    with ESHM(name, ESHMRole.MASTER) as master:
        assert master.is_remote_alive() is False
        assert master.get_remote_state() is eshm.PeerState.NEVER_SEEN
        with ESHM(name, ESHMRole.SLAVE) as slave:
            assert slave.is_remote_alive() is True


def test_collection_closes(name):
    link = ESHM(name, ESHMRole.MASTER)
    assert glob.glob(f"/dev/shm/*{name}*")
    del link
    assert not glob.glob(f"/dev/shm/*{name}*")


def test_closing_twice_is_closing_once(name):
    link = ESHM(name)
    link.close()
    link.close()
    assert link.closed


def test_every_call_on_a_closed_link_raises_closed(name):
    link = ESHM(name)
    link.close()
    calls = [
        lambda: link.write(b""),
        link.read,
        link.try_read,
        link.read_msg,
        lambda: link.read_into(bytearray(4)),
        link.loan,
        link.borrow,
        link.try_borrow,
        link.fileno,
        link.update_heartbeat,
        lambda: link.hold_heartbeat(True),
        link.is_remote_alive,
        link.get_remote_state,
        link.get_role,
        link.get_stats,
        link.get_stats_ex,
        link.__enter__,
        lambda: link.on_event(print),
        lambda: eshm.wait_any([link], 0),
    ]
    for call in calls:
        with pytest.raises(eshm.Closed) as caught:
            call()
        assert caught.value.code is ESHMError.NOT_INITIALIZED


# ---- buffers ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        b"12345678",
        bytearray(b"12345678"),
        memoryview(b"0123456789")[1:9],
        array.array("d", [1.5]),
    ],
    ids=lambda data: type(data).__name__,
)
def test_write_takes_any_contiguous_buffer(pair, data):
    pair[0].write(data)
    assert pair[1].read() == bytes(data)


def test_write_takes_numpy_arrays(pair):
    numpy = pytest.importorskip("numpy")
    values = numpy.arange(6, dtype="f4").reshape(2, 3)
    pair[0].write(values)
    assert pair[1].read() == values.tobytes()
    with pytest.raises((ValueError, BufferError)):
        pair[0].write(values.T)


def test_write_refuses_what_is_no_buffer(pair):
    for wrong in ("text", 5, None):
        with pytest.raises(TypeError):
            pair[0].write(wrong)
    assert pair[1].try_read() is None


def test_read_into_fills_the_buffer_and_tells_the_size(pair):
    master, slave = pair
    room = bytearray(b"." * 10)
    master.write(b"abc")
    assert slave.read_into(room) == 3
    assert room == b"abc......."
    with pytest.raises(TimeoutError):
        slave.read_into(room, timeout_ms=0)
    with pytest.raises((TypeError, BufferError)):
        slave.read_into(b"read-only")


def test_message_larger_than_the_buffer_is_kept(pair):
    master, slave = pair
    master.write(b"x" * 100)
    with pytest.raises(eshm.MessageTooLarge, match="100"):
        slave.read(buffer_size=99)
    with pytest.raises(eshm.MessageTooLarge):
        slave.try_read(0)
    with pytest.raises(eshm.MessageTooLarge):
        slave.read_into(bytearray(99))
    assert slave.try_read(100) == b"x" * 100


def test_read_msg_tells_number_missed_and_age(make_pair):
    master, slave = make_pair(flags=eshm.Flag.TIMESTAMPS)
    before = time.monotonic_ns()
    for text in (b"1", b"2", b"3", b"4"):
        master.write(text)
    message = slave.read_msg()
    after = time.monotonic_ns()
    assert (message.data, message.sequence, message.generation) == (b"4", 4, 1)
    assert before <= message.timestamp_ns <= after
    assert 0 <= message.age_ns <= after - before
    master.write(b"5")
    master.write(b"6")
    assert slave.read_msg().missed == 1
    assert "sequence=4" in repr(message)


def test_age_is_none_without_time_stamps(pair):
    pair[0].write(b"")
    message = pair[1].read_msg()
    assert message.data == b""
    assert message.age_ns is None


def test_iteration_ends_when_the_link_is_closed(pair):
    master, slave = pair
    got = []
    for number in range(3):
        master.write(b"%d" % number)
        got.append(next(iter(slave)))
    assert got == [b"0", b"1", b"2"]
    slave.close()
    assert list(slave) == []


# ---- arguments -------------------------------------------------------------------


def test_arguments_are_judged(pair):
    slave = pair[1]
    for call in (
        lambda: slave.read(-1),
        lambda: slave.read(timeout_ms=2**32 - 1),
        lambda: slave.try_read(-5),
    ):
        with pytest.raises(ValueError):
            call()
    for call in (
        lambda: slave.read("4096"),
        lambda: slave.read(timeout_ms=1.5),
        lambda: slave.read(1, 1, 1),
        lambda: slave.read(unknown=1),
        lambda: slave.read(1, buffer_size=1),
        lambda: slave.write(),
        lambda: slave.write(b"", 0, 0),
        lambda: ESHM(),
        lambda: ESHM(5),
        lambda: slave.on_event(),
    ):
        with pytest.raises(TypeError):
            call()


def cpus_of_the_service_thread():
    for task in glob.glob("/proc/self/task/*"):
        with open(f"{task}/comm") as comm:
            if comm.read() == "eshm\n":
                return os.sched_getaffinity(int(os.path.basename(task)))
    return None


def test_the_service_thread_runs_on_the_requested_cpus(name):
    cpu = max(os.sched_getaffinity(0))
    with ESHM(name, thread_cpus=str(cpu), thread_policy=os.SCHED_OTHER, thread_priority=0):
        assert cpus_of_the_service_thread() == {cpu}
        with pytest.raises(eshm.InvalidParameter, match=f"SCHED_FIFO 1 .*has SCHED_OTHER on CPUs {cpu}"):
            ESHM(name, thread_policy=os.SCHED_FIFO, thread_priority=1)
    with ESHM(name):
        assert cpus_of_the_service_thread() == os.sched_getaffinity(0)


def test_a_link_is_opened_once(pair):
    with pytest.raises(RuntimeError):
        pair[0].__init__(pair[0].name)
    pair[0].write(b"still there")
    assert pair[1].read() == b"still there"


def test_types_made_by_links_cannot_be_made_by_hand():
    for kind in (eshm.Message, eshm.Loan, eshm.Borrow):
        with pytest.raises(TypeError):
            kind()
