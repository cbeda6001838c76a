# SPDX-License-Identifier: MIT
"""Two processes do random things to one link, and are killed at random.

    dice.py NAME BACKEND DELIVERY SEED OPERATIONS

Forks a master and a slave, kills -9 one of them after the other and forks it
anew, until so many operations were done; then both are asked to end. A player
that ends by itself, by a crash or by an exception that is not the package's,
ends the game with 1. Prints how often it killed, and how many messages and
views were right.
"""

from __future__ import annotations

import faulthandler
import mmap
import os
import random
import select
import signal
import struct
import sys
import threading
import time

import eshm
import numpy
from eshm import ESHM, Channel, Delivery, ESHMRole

PATIENCE_S = 300  # of one player, who does not live so long
LARGEST = 70_000
SIZES = (0, 1, 8, 48, 64, 500, 4096, LARGEST)
OPTIONS = dict(
    reconnect_wait_ms=200,
    reconnect_retry_interval_ms=10,
    max_reconnect_attempts=0,
    stale_threshold_ms=10_000,  # a busy machine shall not cause it
)


class Board:
    """What the players tell the game, whatever becomes of them: one column each."""

    COUNTS = ("operations", "messages", "views", "loans")

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, mmap.PAGESIZE)  # shared with whoever is forked

    def add(self, column: int, count: str) -> None:
        at = 64 + 8 * (column * len(self.COUNTS) + self.COUNTS.index(count))
        (before,) = struct.unpack_from("Q", self._memory, at)
        struct.pack_into("Q", self._memory, at, before + 1)

    def total(self, count: str) -> int:
        row = self.COUNTS.index(count)
        columns = struct.unpack_from("8Q", self._memory, 64)
        return sum(columns[row :: len(self.COUNTS)])

    def ask_to_end(self) -> None:
        self._memory[0] = 1

    def is_over(self) -> bool:
        return self._memory[0] == 1


class Player:
    def __init__(self, name: str, role: ESHMRole, backend: str, delivery: str) -> None:
        self.name, self.role, self.backend = name, role, eshm.Backend[backend]
        self.channel = Channel(
            Delivery[delivery],
            max_message_size=LARGEST,
            queue_capacity=4 * LARGEST,
            max_borrows=3,
            max_loans=2,
        )
        self.room = bytearray(LARGEST)
        self.kept: list = []  # arrays in the segment, each beside its first byte
        self.moves = [
            (self.write, 12),
            (self.write_for_a_while, 2),
            (self.loan, 6),
            (self.try_read, 6),
            (self.read, 2),
            (self.read_msg, 4),
            (self.read_into, 3),
            (self.borrow, 6),
            (self.keep_an_array, 4),
            (self.drop_arrays, 3),
            (self.look_around, 2),
            (self.wait, 1),
        ]

    def play(self, seed: int, board: Board, column: int) -> None:
        self.chance = random.Random(seed)
        self.board, self.column = board, column
        moves, weights = zip(*self.moves)
        self.link = None
        game = os.getppid()
        while not board.is_over() and os.getppid() == game:
            try:
                if self.link is None or self.chance.random() < 0.001:
                    self.open_anew()
                self.chance.choices(moves, weights)[0]()
            except (eshm.Timeout, eshm.Error):
                if self.link is not None and self.link.closed:
                    self.link = None
            board.add(column, "operations")
        self.drop_arrays()
        if self.link is not None:
            self.link.close()

    def open_anew(self) -> None:
        """The former link is closed here, there, or never; arrays outlive it."""
        if self.link is not None:
            how = self.chance.randrange(3)
            if how == 0:
                self.link.close()
            elif how == 1:
                closing = threading.Thread(target=self.link.close)
                closing.start()
                try:
                    self.link.read(LARGEST, 20)
                finally:
                    closing.join()
        self.link = None
        channels = {"m2s": self.channel, "s2m": self.channel}
        self.link = ESHM(self.name, self.role, backend=self.backend, **channels, **OPTIONS)
        self.last = (0, 0)

    def judge(self, data) -> None:
        data = bytes(data)
        assert not data or data == data[:1] * len(data), f"torn: {data[:20]!r}, {len(data)}"
        self.board.add(self.column, "messages")

    def judge_order(self, message) -> None:
        now = (message.generation, message.sequence)
        assert now > self.last, f"{now} after {self.last}"
        self.last = now

    def array_of(self, view):
        """numpy's two ways: one holds a buffer, the other refers to an object."""
        if self.chance.randrange(2):
            return numpy.frombuffer(view, "u1")
        size = view.nbytes if isinstance(view, memoryview) else view.size
        return numpy.ndarray(size, "u1", view)

    # ---- moves ----

    def message(self) -> bytes:
        return bytes([self.chance.randrange(256)]) * self.chance.choice(SIZES)

    def write(self) -> None:
        self.link.write(self.message())

    def write_for_a_while(self) -> None:
        self.link.write(self.message(), self.chance.randrange(3))

    def loan(self) -> None:
        loan = self.link.loan(self.chance.choice(SIZES))
        byte = self.chance.randrange(256)
        with memoryview(loan) as room:
            self.array_of(room)[:] = byte
        how = self.chance.randrange(6)
        if how == 0:
            loan.discard()
        elif how == 1:
            loan.size //= 2
            loan.publish()
        elif how == 2 and loan.size:
            array = self.array_of(memoryview(loan))
            try:
                loan.publish()
                raise AssertionError("published under an array")
            except BufferError:
                assert (array == byte).all()
        elif how == 3:
            return  # forgotten: it goes back
        else:
            loan.publish()
        self.board.add(self.column, "loans")

    def try_read(self) -> None:
        data = self.link.try_read(LARGEST)
        if data is not None:
            self.judge(data)

    def read(self) -> None:
        self.judge(self.link.read(self.chance.choice((64, LARGEST)), self.chance.randrange(3)))

    def read_msg(self) -> None:
        message = self.link.read_msg(self.chance.choice((0, 0, 1)))
        self.judge_order(message)
        self.judge(message.data)

    def read_into(self) -> None:
        size = self.link.read_into(self.room, 0)
        self.judge(self.room[:size])

    def borrow(self) -> None:
        how = self.chance.randrange(3)
        borrowed = self.link.borrow(how) if how else self.link.try_borrow()
        if borrowed is None:
            return
        self.judge_order(borrowed)
        with borrowed as view:
            self.judge(view)
        try:
            bytes(view)
            raise AssertionError("a view after its end")
        except ValueError:
            self.board.add(self.column, "views")

    def keep_an_array(self) -> None:
        borrowed = self.link.try_borrow()
        if borrowed is None or not borrowed.size:
            return
        array = self.array_of(borrowed)
        if self.chance.randrange(2):
            borrowed.release()
        self.kept.append((array, int(array[0])))

    def drop_arrays(self) -> None:
        for array, byte in self.kept:
            assert (array == byte).all(), "a kept array has changed"
            self.board.add(self.column, "views")
        self.kept.clear()

    def look_around(self) -> None:
        link = self.link
        link.get_stats(), link.get_stats_ex(), link.get_role(), repr(link)
        link.is_remote_alive(), link.get_remote_state()
        link.on_event(self.chance.choice((None, lambda link, event: None)))

    def wait(self) -> None:
        if self.chance.randrange(2):
            eshm.wait_any([self.link], 1)
        else:
            select.select([self.link], [], [], 0.001)


class Game:
    def __init__(self, arguments: list) -> None:
        self.name, self.backend, self.delivery = arguments[:3]
        self.seed, self.operations = map(int, arguments[3:])
        self.chance = random.Random(self.seed)
        self.board = Board()
        self.started = self.kills = 0

    def start(self, column: int) -> int:
        self.started += 1
        pid = os.fork()
        if pid:
            return pid
        code = 1
        try:
            faulthandler.dump_traceback_later(PATIENCE_S, exit=True)
            player = Player(self.name, ESHMRole(column), self.backend, self.delivery)
            player.play(self.seed * 1000 + self.started, self.board, column)
            code = 0
        except BaseException:
            sys.excepthook(*sys.exc_info())
        finally:
            sys.stderr.flush()
            os._exit(code)

    def await_end(self, column: int, wanted: int) -> None:
        _, status = os.waitpid(self.players.pop(column), 0)
        if status != wanted:
            raise SystemExit(f"the {ESHMRole(column).name} ended by itself, status {status:#x}")

    def kill_and_start_one(self) -> None:
        column = self.chance.randrange(2)
        os.kill(self.players[column], signal.SIGKILL)
        self.await_end(column, signal.SIGKILL)
        self.kills += 1
        self.players[column] = self.start(column)

    def run(self) -> None:
        self.players = {column: self.start(column) for column in (ESHMRole.MASTER, ESHMRole.SLAVE)}
        try:
            while self.board.total("operations") < self.operations:
                time.sleep(self.chance.random() ** 3 * 0.1)
                self.kill_and_start_one()
            self.board.ask_to_end()
            for column in list(self.players):
                self.await_end(column, 0)
        finally:
            for pid in self.players.values():
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
        # Where a killed master left its name, the next one removes it.
        ESHM(self.name, ESHMRole.MASTER, backend=eshm.Backend[self.backend]).close()


if __name__ == "__main__":
    game = Game(sys.argv[1:])
    game.run()
    print(f"kills {game.kills}", *(f"{c} {game.board.total(c)}" for c in Board.COUNTS))
