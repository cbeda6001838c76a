# SPDX-License-Identifier: MIT
"""Links from outside: list_links and remove_link."""

import os
import signal

import eshm
import pytest


def listed(name):
    return [link for link in eshm.list_links() if link["name"] == name]


def test_a_living_link_is_listed_with_its_processes_and_counts(name, backend):
    assert listed(name) == []
    with eshm.ESHM(name, role=eshm.ESHMRole.MASTER, backend=backend) as link:
        link.write(b"one")
        (found,) = listed(name)
        assert found["backend"] == backend
        assert found["master"]["holds_role"] and found["master"]["pid"] == os.getpid()
        assert not found["slave"]["holds_role"]
        assert found["m2s"]["written"] == 1 and found["m2s"]["type"] is None
        assert found["problem"] == ""


def test_a_link_in_use_is_not_removed_and_its_holder_named(name):
    with eshm.ESHM(name, role=eshm.ESHMRole.MASTER):
        with pytest.raises(eshm.RoleTaken, match=str(os.getpid())):
            eshm.remove_link(name)
        assert len(listed(name)) == 1


def test_an_orphan_is_removed(name):
    ready, tell = os.pipe()
    child = os.fork()
    if child == 0:
        link = eshm.ESHM(name, role=eshm.ESHMRole.MASTER)
        os.write(tell, b"x")
        signal.pause()
        os._exit(link is None)
    os.read(ready, 1)
    os.close(ready)
    os.close(tell)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    (found,) = listed(name)
    assert not found["master"]["holds_role"] and found["master"]["pid"] == child
    eshm.remove_link(name)
    assert listed(name) == []
    with pytest.raises(eshm.NoData):
        eshm.remove_link(name)


def test_what_is_no_segment_is_removed_by_force_alone(name):
    with open(f"/dev/shm/eshm_{name}", "w") as file:
        file.write("hello")
    with pytest.raises(eshm.SegmentError):
        eshm.remove_link(name)
    eshm.remove_link(name, force=True)
    assert listed(name) == []
