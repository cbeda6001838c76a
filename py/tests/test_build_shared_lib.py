# SPDX-License-Identifier: MIT
"""py/build_shared_lib.sh as a user runs it: the system's python3, no pip, no
virtual environment. In a copy of the tree, so that the checkout stays clean."""

import os
import pathlib
import shutil
import signal
import subprocess
import sys

import pytest

TREE = pathlib.Path(__file__).resolve().parents[2]
COPIED = ("CMakeLists.txt", "include", "src", "examples", "py")


def plain_environment():
    """Without this interpreter's virtual environment; the system's programs come first."""
    inherited = os.environ.get("PATH", "").split(os.pathsep)
    others = [path for path in inherited if not path.startswith(sys.prefix)]
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "VIRTUAL"))}
    environment["PATH"] = os.pathsep.join(["/usr/bin", "/bin", *others])
    return environment


ENVIRONMENT = plain_environment()
PYTHON = shutil.which("python3", path=ENVIRONMENT["PATH"])


def copy_of_the_tree(folder):
    no_builds = shutil.ignore_patterns("*.so", "__pycache__")
    for name in COPIED:
        source = TREE / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=no_builds)
        else:
            shutil.copy2(source, folder / name)
    return folder


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Made before the watchdog of the first test begins: a compiler takes its time."""
    tree = copy_of_the_tree(tmp_path_factory.mktemp("eshm"))
    result = subprocess.run(
        ["./build_shared_lib.sh"],
        cwd=tree / "py",
        env=ENVIRONMENT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert result.returncode == 0, result.stdout
    return tree


def run(tree, code, *words):
    result = subprocess.run(
        [PYTHON, "-I", "-c", "import sys; sys.path.insert(0, 'py')\n" + code, *words],
        cwd=tree,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert result.returncode == 0, result.stdout
    return result.stdout


def test_the_python_is_the_systems_own(built):
    assert run(built, "print(sys.prefix == sys.base_prefix)") == "True\n"


def test_the_package_is_found_in_py_and_works(built, name):
    code = """
from eshm import ESHM, ESHMRole, ESHMError
import eshm
print(eshm.__file__)
with ESHM(sys.argv[1], ESHMRole.MASTER) as master, ESHM(sys.argv[1], ESHMRole.SLAVE) as slave:
    master.write(b"hello")
    assert slave.read() == b"hello"
    assert ESHMError.SUCCESS == 0
"""
    found = pathlib.Path(built, run(built, code, name).strip())
    assert found.samefile(built / "py" / "eshm" / "__init__.py")


def start_example(tree, script, *words):
    return subprocess.Popen(
        [PYTHON, str(tree / "py" / "examples" / script), *words],
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_simple_master_and_slave_talk(built, name):
    slave = start_example(built, "simple_slave.py", name, "--messages", "3")
    master = start_example(built, "simple_master.py", name, "--interval-ms", "50")
    with slave, master:
        try:
            heard = slave.stdout.read()
            assert slave.wait() == 0, heard
            assert heard.count("Hello from Python master") == 3
            assert any("ACK from Python slave" in line for line in master.stdout)
            master.send_signal(signal.SIGINT)
            rest = master.stdout.read()
            assert master.wait() == 0, rest
        finally:
            slave.kill()
            master.kill()
