"""What `import eshm` brings along, and what it does not."""

import subprocess
import sys

import eshm


def run(code, *options):
    return subprocess.run(
        [sys.executable, *options, "-c", code], capture_output=True, text=True, check=True
    )


def test_import_loads_neither_numpy_nor_asyncio_nor_ctypes():
    code = """
import sys, eshm
heavy = {"numpy", "asyncio", "ctypes", "logging", "multiprocessing"} & set(sys.modules)
print(sorted(heavy))
"""
    assert run(code).stdout == "[]\n"


def test_every_public_name_exists():
    for public in eshm.__all__:
        assert getattr(eshm, public) is not None


def test_development_mode_finds_nothing():
    code = """
import os, eshm
name = f"pytest_dev_{os.getpid()}"
with eshm.ESHM(name) as master, eshm.ESHM(name) as slave:
    master.write(b"x")
    assert slave.read() == b"x"
    try:
        slave.read(timeout_ms=1)
    except eshm.Timeout:
        pass
    assert repr(master)
"""
    result = run(code, "-X", "dev", "-W", "error")
    assert (result.stdout, result.stderr) == ("", "")


def test_version_is_the_librarys():
    assert eshm.__version__.count(".") == 2


def test_a_second_interpreter_is_refused_or_served_but_never_crashes():
    code = """
try:
    import _xxsubinterpreters as interpreters
except ImportError:
    import sys
    sys.exit(0)
import eshm
sub = interpreters.create()
try:
    interpreters.run_string(sub, "import eshm")
except Exception as error:
    assert "interpreter" in str(error), error
"""
    run(code)
