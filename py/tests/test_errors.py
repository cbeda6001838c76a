# SPDX-License-Identifier: MIT
"""Every failure has a class, a code and a sentence."""

import os
import pickle

import eshm
import pytest
from eshm import ESHM, ESHMError, ESHMRole


def test_timeouts_are_timeout_errors_and_all_else_runtime_errors():
    for value in eshm.__all__:
        kind = getattr(eshm, value)
        if not (isinstance(kind, type) and issubclass(kind, Exception)):
            continue
        is_timeout = issubclass(kind, TimeoutError)
        assert is_timeout != issubclass(kind, RuntimeError), kind
        assert is_timeout == (kind in (eshm.Timeout, eshm.NoData))


@pytest.mark.parametrize("code", [code for code in ESHMError if code < 0])
def test_every_code_becomes_an_exception_that_survives_pickling(code):
    error = eshm._make_error(code, "the sentence")
    assert error.code is code
    assert str(error) == "the sentence"
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), copy.code, str(copy)) == (type(error), code, "the sentence")


def test_second_master_is_refused_and_the_first_named(pair):
    with pytest.raises(eshm.RoleTaken, match=str(os.getpid())) as caught:
        ESHM(pair[0].name, ESHMRole.MASTER)
    assert caught.value.code is ESHMError.ROLE_MISMATCH


def test_second_slave_is_refused(pair):
    with pytest.raises(eshm.RoleTaken):
        ESHM(pair[0].name, ESHMRole.SLAVE, max_reconnect_attempts=1)


def test_slave_without_master_gives_up(name):
    with pytest.raises(TimeoutError):
        ESHM(name, ESHMRole.SLAVE, max_reconnect_attempts=1)


def test_impossible_configuration_is_refused_in_words(name):
    for options in (
        {"stale_threshold_ms": 0},
        {"role": 77},
        {"thread_cpus": "2;4"},
        {"thread_policy": 77},
        {"thread_priority": 1},
    ):
        with pytest.raises(eshm.InvalidParameter) as caught:
            ESHM(name, **options)
        assert isinstance(caught.value, ValueError)
        assert len(str(caught.value)) > 10
    for number in (-1, 2**32, 2**64):
        with pytest.raises((ValueError, OverflowError)):
            ESHM(name, reconnect_wait_ms=number)
    with pytest.raises(eshm.InvalidParameter, match="max_message_size takes bytes"):
        eshm.Channel(max_message_size=0)
    with pytest.raises(eshm.InvalidParameter):
        ESHM("a/b")
    with pytest.raises(ValueError):
        ESHM("a\0b")


def test_message_larger_than_the_channel_is_refused(pair):
    for size in (4097, 1 << 20):
        with pytest.raises(eshm.MessageTooLarge, match=str(size)):
            pair[0].write(b"x" * size)
    assert pair[1].try_read() is None


def test_slave_that_may_not_retry_learns_that_its_master_left(name):
    master = ESHM(name, ESHMRole.MASTER, stale_threshold_ms=10_000)
    slave = ESHM(
        name,
        ESHMRole.SLAVE,
        eshm.ESHMDisconnectBehavior.IMMEDIATELY,
        stale_threshold_ms=10_000,
    )
    with slave:
        master.close()
        with pytest.raises(eshm.PeerGone) as caught:
            slave.read(timeout_ms=30_000)
        assert caught.value.code is ESHMError.MASTER_STALE


def test_error_string_answers_for_every_code():
    assert eshm.error_string(0) == "Success"
    assert eshm.error_string(-1) == "Invalid parameter"
    assert eshm.error_string(-12345)
