"""What `import eshm` brings along, and what it does not."""

import os
import pathlib
import subprocess
import sys
import warnings

import eshm
import pytest


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


def test_warnings_stop_these_tests():
    """scripts/test.sh runs them all in development mode, and so their children."""
    with pytest.raises(ResourceWarning):
        warnings.warn("left open", ResourceWarning)


@pytest.mark.skipif("ESHM_TEST_SANITIZED" not in os.environ, reason="no sanitized extension")
def test_the_sanitizer_watches_the_extension():
    assert b"__asan_report_load" in pathlib.Path(eshm._native.__file__).read_bytes()
    assert "libasan" in pathlib.Path("/proc/self/maps").read_text()


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
