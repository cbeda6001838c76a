# SPDX-License-Identifier: MIT
"""Loans and borrows: what a view may see, and for how long."""

import gc
import threading
import time

import eshm
import pytest
from eshm import ESHM, Channel, ESHMRole

numpy = pytest.importorskip("numpy")


@pytest.fixture
def frames(make_pair):
    return make_pair(m2s=Channel(max_message_size=100_000, max_borrows=2))


def send(master, data):
    with master.loan(len(data)) as room:
        room[:] = data


def test_a_loan_is_published_at_its_end(frames):
    master, slave = frames
    with master.loan(5) as room:
        assert isinstance(room, memoryview) and not room.readonly and len(room) == 5
        room[:] = b"hello"
        assert slave.try_read() is None
    assert slave.read() == b"hello"
    with pytest.raises(ValueError):
        room[0]


def test_a_loan_may_be_published_shorter_and_cannot_grow(frames):
    master, slave = frames
    loan = master.loan()
    assert loan.size == 100_000
    with loan as room:
        room[:3] = b"abc"
        loan.size = 3
        with pytest.raises(ValueError):
            loan.size = 4
    assert slave.read() == b"abc"


def test_a_loan_is_discarded_on_an_exception(frames):
    master, slave = frames
    for _ in range(10):
        with pytest.raises(KeyError):
            with master.loan(5) as room:
                room[:] = b"never"
                raise KeyError
    assert slave.try_read() is None
    send(master, b"then")
    assert slave.read() == b"then"


# Ways to an array: frombuffer holds a buffer; ndarray only refers to the object
# that it was made of, or to what a memoryview was made of.
def by_frombuffer(view):
    return numpy.frombuffer(view, "u1")


def by_ndarray(view):
    size = view.nbytes if isinstance(view, memoryview) else view.size
    return numpy.ndarray(size, "u1", view)


both_ways = pytest.mark.parametrize(
    "array_of", [by_frombuffer, by_ndarray], ids=["frombuffer", "ndarray"]
)


@both_ways
def test_an_array_that_outlives_its_loan_stops_the_publication(frames, array_of):
    master, slave = frames
    with pytest.raises(BufferError):
        with master.loan(8) as room:
            array = array_of(room)
            array[:] = 1
    assert slave.try_read() is None
    array[:] = 2  # still a place of its own: nobody reads it
    del array, room
    gc.collect()
    send(master, b"next")
    assert slave.read() == b"next"


def test_a_part_of_a_loans_memoryview_stops_the_publication(frames):
    master, slave = frames
    with pytest.raises(BufferError):
        with master.loan(8) as room:
            part = room[:4]
    assert slave.try_read() is None
    part[:] = b"2222"


def test_an_array_of_a_discarded_loan_stays_in_place(frames):
    master, slave = frames
    loan = master.loan(8)
    array = by_frombuffer(loan)
    loan.discard()
    with pytest.raises(eshm.QueueFull):
        master.loan(8)
    master.close()
    array[:] = 1
    del array


def test_a_loan_is_written_through_a_memoryview_only(frames, tmp_path):
    """Who is handed the loan itself might go on writing after its end."""
    master, slave = frames
    loan = master.loan(5)
    with pytest.raises((BufferError, TypeError)):
        by_ndarray(loan)
    path = tmp_path / "file"
    path.write_bytes(b"bytes")
    with path.open("rb", buffering=0) as file:
        with pytest.raises((BufferError, TypeError)):
            file.readinto(loan)
        with loan as room:
            assert file.readinto(room) == 5
    assert slave.read() == b"bytes"


def test_a_forgotten_loan_goes_back(frames):
    master, slave = frames
    for _ in range(10):
        master.loan(5)
    send(master, b"x")
    assert slave.read() == b"x"


def test_a_borrow_is_read_only_and_its_memoryview_raises_after_release(frames):
    master, slave = frames
    send(master, b"hello")
    with slave.borrow() as view:
        assert view.readonly and bytes(view) == b"hello"
        with pytest.raises(TypeError):
            view[0] = 1
    with pytest.raises(ValueError):
        bytes(view)


def test_a_borrow_knows_its_message(make_pair):
    master, slave = make_pair(flags=eshm.Flag.TIMESTAMPS)
    master.write(b"1")
    master.write(b"22")
    borrowed = slave.borrow()
    assert (borrowed.sequence, borrowed.size, borrowed.generation) == (2, 2, 1)
    assert borrowed.age_ns >= 0 and not borrowed.released
    borrowed.release()
    borrowed.release()
    assert borrowed.released
    with pytest.raises(BufferError):
        memoryview(borrowed)


def test_borrow_waits_and_times_out(frames):
    master, slave = frames
    assert slave.try_borrow() is None
    with pytest.raises(eshm.NoData):
        slave.borrow(0)
    with pytest.raises(eshm.Timeout):
        slave.borrow(20)
    timer = threading.Timer(0.05, master.write, [b"late"])
    timer.start()
    with slave.borrow(-1) as view:
        assert bytes(view) == b"late"
    timer.join()


def test_arrays_stay_as_they_were_while_the_writer_goes_on(frames):
    master, slave = frames
    master.write(b"\1" * 1000)
    array = numpy.frombuffer(slave.borrow(), "u1")
    half = array[::2]
    del array
    for number in range(50):
        master.write(bytes([number]) * 1000)
    assert (half == 1).all()
    with pytest.raises(ValueError):
        half[0] = 2


def overwrite_all(master, size=1000):
    for _ in range(20):
        master.write(bytes(size))


@both_ways
def test_an_array_of_a_borrow_outlives_with(frames, array_of):
    master, slave = frames
    master.write(b"\7" * 1000)
    with slave.borrow() as view:
        array = array_of(view)
    overwrite_all(master)
    assert (array == 7).all()


@both_ways
def test_an_array_of_a_borrow_outlives_release(frames, array_of):
    master, slave = frames
    master.write(b"\7" * 1000)
    borrowed = slave.borrow()
    array = array_of(borrowed)
    borrowed.release()
    overwrite_all(master)
    assert (array == 7).all()
    # All pins are free again when it is gone.
    del array, borrowed
    for _ in range(5):
        master.write(b"x")
        slave.borrow().release()


@both_ways
@pytest.mark.parametrize("is_entered", [True, False], ids=["with", "borrowed"])
def test_an_array_of_a_borrow_outlives_close_of_both_ends(frames, array_of, is_entered):
    master, slave = frames
    master.write(b"\7" * 1000)
    if is_entered:
        with slave.borrow() as view:
            array = array_of(view)
        del view
    else:
        array = array_of(slave.borrow())
    slave.close()
    master.close()
    assert (array == 7).all()
    with pytest.raises(eshm.Closed):
        slave.borrow()
    # The seat is given back with the last array.
    name = master.name
    del array
    gc.collect()
    with ESHM(name, ESHMRole.MASTER), ESHM(name, ESHMRole.SLAVE):
        pass


def test_a_memoryview_of_a_borrow_raises_after_release_and_close(frames):
    master, slave = frames
    master.write(b"\7" * 1000)
    borrowed = slave.borrow()
    with borrowed as view:
        pass
    for end in (lambda: None, borrowed.release, slave.close):
        end()
        with pytest.raises(ValueError):
            view[0]
        with pytest.raises(BufferError):
            memoryview(borrowed)
        with pytest.raises(BufferError):
            by_ndarray(borrowed)


def test_a_borrow_that_was_read_as_a_buffer_goes_back_at_its_end(frames, tmp_path):
    """Unlike numpy.ndarray, who writes or sends it is done with it."""
    master, slave = frames
    for _ in range(5):
        master.write(b"bytes")
        borrowed = slave.borrow()
        (tmp_path / "file").write_bytes(borrowed)
        slave.write(borrowed)
        borrowed.release()
        assert master.read() == b"bytes"
        last = borrowed  # a name that lives on keeps nothing in its place
    assert last.released


@both_ways
def test_an_array_of_a_borrow_outlives_the_death_of_its_writer(
    name, backend, start_child, array_of
):
    child = start_child(
        """
        import sys, time, eshm
        with eshm.ESHM(sys.argv[1], eshm.ESHMRole.MASTER, backend=eshm.Backend[sys.argv[2]]) as m:
            m.write(bytes([9]) * 1000)
            time.sleep(1000)
        """,
        name,
        backend.name,
    )
    with ESHM(name, ESHMRole.SLAVE, reconnect_wait_ms=60_000, max_reconnect_attempts=0) as slave:
        array = array_of(slave.borrow(60_000))
        child.kill()
        assert (array == 9).all()
        with ESHM(name, ESHMRole.MASTER, backend=backend) as master:
            overwrite_all(master)
            assert (array == 9).all()
            del array


def test_an_array_may_be_dropped_by_another_thread(frames):
    master, slave = frames
    for _ in range(20):
        master.write(b"x" * 100)
        arrays = [numpy.frombuffer(slave.borrow(), "u1")]
        thread = threading.Thread(target=arrays.clear)
        thread.start()
        thread.join()


def test_numpy_takes_a_borrow_by_dlpack_without_a_copy(frames):
    if numpy.lib.NumpyVersion(numpy.__version__) < "2.1.0":
        pytest.skip("this numpy does not know DLPack 1")
    master, slave = frames
    master.write(b"\5" * 100)
    borrowed = slave.borrow()
    array = numpy.from_dlpack(borrowed)
    assert array.ctypes.data == numpy.frombuffer(borrowed, "u1").ctypes.data
    assert not array.flags.writeable and (array == 5).all()
    borrowed.release()
    master.write(b"\6" * 100)
    assert (array == 5).all()


def test_dlpack_refuses_who_cannot_be_told_that_it_is_read_only(frames):
    master, slave = frames
    master.write(b"x")
    borrowed = slave.borrow()
    assert borrowed.__dlpack_device__() == (1, 0)
    for options in (
        {},
        {"max_version": (0, 8)},
        {"max_version": (1, 0), "copy": True},
        {"max_version": (1, 0), "dl_device": (2, 0)},
        {"max_version": (1, 0), "stream": 1},
    ):
        with pytest.raises(BufferError):
            borrowed.__dlpack__(**options)
    # A capsule that nobody takes gives its export back.
    borrowed.__dlpack__(max_version=(1, 0))
    borrowed.release()
    for _ in range(5):
        master.write(b"y")
        slave.borrow().release()


def test_views_leak_nothing(frames):
    import sys

    master, slave = frames

    def once():
        with master.loan(64) as room:
            room[0] = 1
        with slave.borrow() as view:
            view[0]
        master.write(b"x" * 64)
        numpy.frombuffer(slave.borrow(), "u1").sum()

    for _ in range(100):
        once()
    before = sys.getallocatedblocks()
    for _ in range(20_000):
        once()
    gc.collect()
    assert sys.getallocatedblocks() - before < 100


def test_an_array_that_is_alive_at_exit_harms_nothing(name, start_child):
    child = start_child(
        """
        import sys, numpy, eshm
        link = eshm.ESHM(sys.argv[1])
        slave = eshm.ESHM(sys.argv[1])
        link.write(b"x" * 100)
        array = numpy.frombuffer(slave.borrow(), "u1")
        room = link.loan(10)
        """,
        name,
    )
    assert child.end() == (0, "", "")


class LoopReader(threading.Thread):
    """Reads a view over and over: what it saw is right, or it was refused."""

    def __init__(self, view, wanted):
        super().__init__()
        self.view, self.wanted = view, wanted
        self.good = self.wrong = 0
        self.refusals = []
        self.stop = threading.Event()
        self.start()

    def run(self):
        while not self.stop.is_set() and not self.refusals:
            try:
                # Of an array without the GIL, so beside whatever the others do.
                if isinstance(self.view, numpy.ndarray):
                    right = numpy.array_equal(self.view, self.wanted)
                else:
                    right = bytes(self.view) == self.wanted
                self.good += right
                self.wrong += not right
            except Exception as error:
                self.refusals.append(error)
        del self.view

    def await_good(self, count):
        end = self.good + count
        while self.good < end and self.is_alive():
            time.sleep(0.0001)


@pytest.mark.parametrize("how", ["array", "memoryview"])
@pytest.mark.parametrize("ends", [["release"], ["close"], ["release", "close"]], ids="+".join)
def test_a_view_in_use_outlives_its_end_in_another_thread_or_refuses(name, backend, how, ends):
    size = 200_000
    channel = Channel(max_message_size=size)
    options = {"backend": backend, "m2s": channel, "stale_threshold_ms": 10_000}
    for number in range(10):
        with ESHM(f"{name}_{number}", ESHMRole.MASTER, **options) as master:
            slave = ESHM(f"{name}_{number}", ESHMRole.SLAVE, **options)
            master.write(b"\7" * size)
            borrowed = slave.borrow()
            view = borrowed.__enter__()
            if how == "array":
                reader = LoopReader(numpy.frombuffer(view, "u1"), numpy.full(size, 7, "u1"))
            else:
                reader = LoopReader(view, b"\7" * size)
            del view
            reader.await_good(3)
            for end in ends:
                borrowed.release() if end == "release" else slave.close()
                for byte in range(5):  # into every place that is free now
                    master.write(bytes([byte]) * size)
                reader.await_good(3)
            reader.stop.set()
            reader.join()
            slave.close()
            assert reader.wrong == 0 and reader.good >= 3
            may_refuse = how == "memoryview" and "release" in ends
            assert [type(error) for error in reader.refusals] == [ValueError] * may_refuse
            del borrowed, reader
