# SPDX-License-Identifier: MIT
"""Defaults: one set, in the C library. Signatures, stub and guide agree with it."""

import ast
import inspect
import os
import pathlib
import re

import eshm
import pytest
from eshm import ESHM, Channel, ESHMRole, Receiver, Sender, _native

README = (pathlib.Path(__file__).resolve().parent.parent / "README.md").read_text()
CONFIG = _native.default_config()


def defaults_of(function):
    parameters = inspect.signature(function).parameters.values()
    return {p.name: p.default for p in parameters if p.default is not p.empty}


def documented_in_the_table_of(kind):
    """Argument: default, of the guide's table with that heading."""
    found = {}
    _, _, table = README.partition(f"| Argument of `{kind}` | Default |")
    for line in table.splitlines()[2:]:
        if not line.startswith("|"):
            break
        names, default = line.split("|")[1:3]
        for name in re.findall(r"`(\w+)`", names):
            found[name] = eval(default.strip(" `"), vars(eshm).copy())
    return found


def documented_method_signatures():
    """(name, arguments) of each call in the first column of the guide's table of methods."""
    _, _, table = README.partition("| Method | |")
    rows = table.partition("\n\n")[0].splitlines()[2:]
    return [call for row in rows for call in re.findall(r"`(\w+)\((.*?)\)`", row.split("|")[1])]


def test_the_extensions_defaults_have_these_values():
    channel = {
        "delivery": eshm.Delivery.LATEST,
        "max_message_size": 4096,
        "queue_capacity": 1048576,
        "max_borrows": 2,
        "max_loans": 1,
    }
    assert CONFIG == {
        "role": eshm.ESHMRole.AUTO,
        "disconnect_behavior": eshm.ESHMDisconnectBehavior.ON_TIMEOUT,
        "stale_threshold_ms": 100,
        "reconnect_wait_ms": 5000,
        "reconnect_retry_interval_ms": 100,
        "max_reconnect_attempts": 50,
        "auto_cleanup": True,
        "use_threads": True,
        "backend": eshm.Backend.POSIX,
        "m2s": channel,
        "s2m": channel,
        "spin_us": 2**32 - 1,
        "permissions": 0o600,
        "flags": 0,
        "unread_policy": eshm.Unread.KEEP,
        "thread_cpus": None,
        "thread_policy": os.SCHED_OTHER,
        "thread_priority": 0,
    }


def test_a_link_has_the_extensions_defaults():
    # A Channel for each direction is made where none is given.
    assert defaults_of(ESHM) == {**CONFIG, "m2s": None, "s2m": None}
    assert CONFIG["m2s"] == CONFIG["s2m"]


def test_a_channel_has_the_extensions_defaults():
    expected = {**CONFIG["m2s"], "type": None}
    channel = Channel()
    assert {name: getattr(channel, name) for name in expected} == expected
    # The default depends on the type.
    assert defaults_of(Channel) == {**expected, "max_message_size": None}


@pytest.mark.parametrize("kind", [ESHM, Channel], ids=["ESHM", "Channel"])
def test_the_guide_states_every_default(kind):
    assert documented_in_the_table_of(kind.__name__) == defaults_of(kind)


def test_enum_defaults_are_members_of_the_enums():
    for name, default in {**defaults_of(ESHM), **defaults_of(Channel)}.items():
        if name in ("role", "disconnect_behavior", "backend", "delivery"):
            assert f"{type(default).__name__}.{default.name}" in README


def test_the_help_shows_numbers():
    text = str(inspect.signature(ESHM))
    assert "stale_threshold_ms: 'int' = 100" in text
    assert "<ESHMRole.AUTO: 2>" in text


def test_the_constants_are_the_extensions():
    assert eshm.MAX_DATA_SIZE == CONFIG["m2s"]["max_message_size"]
    assert eshm.SPIN_ADAPTIVE == CONFIG["spin_us"]
    assert f"up to {eshm.MAX_DATA_SIZE} bytes" in README
    assert f"the record type, or {eshm.MAX_DATA_SIZE} |" in README


@pytest.mark.parametrize("call", documented_method_signatures(), ids=lambda call: call[0])
def test_the_guide_states_a_methods_defaults(call):
    name, arguments = call
    documented = defaults_of(eval(f"lambda {arguments}: None"))
    assert documented == defaults_of(getattr(ESHM, name))


def test_the_guide_has_every_method_with_a_default():
    documented = {name for name, _ in documented_method_signatures()}
    methods = inspect.getmembers(ESHM, callable)
    public = {name for name, method in methods if not name.startswith("_") and defaults_of(method)}
    assert public and public <= documented


def test_the_stub_states_the_methods_defaults():
    stub = ast.parse(pathlib.Path(eshm.__file__).with_name("_native.pyi").read_text())
    (link,) = (n for n in stub.body if isinstance(n, ast.ClassDef) and n.name == "Link")
    compared = 0
    for method in link.body:
        if isinstance(method, ast.FunctionDef) and method.args.defaults:
            named = method.args.args[-len(method.args.defaults) :]
            values = map(ast.literal_eval, method.args.defaults)
            stated = dict(zip((argument.arg for argument in named), values))
            assert stated == defaults_of(getattr(_native.Link, method.name)), method.name
            compared += 1
    assert compared > 0


def test_a_read_without_a_size_takes_a_message_of_any_size(make_pair):
    size = 1_000_000
    assert defaults_of(ESHM.read)["buffer_size"] is None
    assert defaults_of(ESHM.try_read) == {"buffer_size": None}
    master, slave = make_pair(m2s=Channel(max_message_size=size))
    for read in (slave.read, slave.try_read):
        master.write(bytes(size))
        assert len(read()) == size
        master.write(bytes(size))
        with pytest.raises(eshm.MessageTooLarge, match="without buffer_size="):
            read(4096)
        assert len(slave.read(buffer_size=size)) == size


def test_a_links_own_defaults_reach_the_library(name):
    with ESHM(name, ESHMRole.MASTER) as link:
        assert link.get_stats()["stale_threshold"] == CONFIG["stale_threshold_ms"]
        assert link.get_stats_ex()["max_write_size"] == CONFIG["m2s"]["max_message_size"]


def test_typed_ends_have_the_defaults_of_the_calls_that_they_make():
    channel = defaults_of(Channel)
    options = ("delivery", "queue_capacity", "max_borrows", "max_loans")
    assert defaults_of(Sender) == {"role": None, **{name: channel[name] for name in options}}
    assert defaults_of(Receiver) == defaults_of(Sender)
    assert defaults_of(Sender.send) == defaults_of(ESHM.write)
    for typed, call in (
        (Receiver.receive, ESHM.read_msg),
        (Receiver.view, ESHM.borrow),
        (Receiver.receive_async, ESHM.read_async),
    ):
        assert defaults_of(typed) == defaults_of(call)
