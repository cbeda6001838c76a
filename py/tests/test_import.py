# SPDX-License-Identifier: MIT
"""What `import eshm` loads and what it does not, and the order of its modules."""

import ast
import os
import pathlib
import subprocess
import sys
import warnings

import eshm
import pytest

# The package's modules, lowest first: each imports only modules before it.
ORDER = [
    "_native",
    "_enums",
    "_errors",
    "_defaults",
    "_arguments",
    "_layouts",
    "_values",
    "_records",
    "_notices",
    "_aio",
    "_link",
    "_links",
    "typed",
    "__init__",
]
PACKAGE = pathlib.Path(eshm.__file__).parent


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


def imported_modules(source):
    """The package's modules that a module's source imports, wherever the import is."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            paths = [alias.name.split(".") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            start = ["eshm"] if node.level else []
            path = start + (node.module.split(".") if node.module else [])
            paths = [[*path, alias.name] for alias in node.names]
        else:
            continue
        for path in paths:
            if path[0] == "eshm":
                # A name that is no module comes from the package's __init__.
                found.add(path[1] if len(path) > 1 and path[1] in ORDER else "__init__")
    return found


def modules_not_below(module, source):
    below = ORDER[: ORDER.index(module)]
    return sorted(imported_modules(source) - set(below))


def test_every_module_has_a_place_in_the_order():
    files = [path for path in PACKAGE.iterdir() if path.suffix in (".py", ".pyi", ".so")]
    assert {path.name.split(".")[0] for path in files} == set(ORDER)


@pytest.mark.parametrize("module", ORDER)
def test_a_module_imports_only_lower_ones(module):
    source = PACKAGE / f"{module}.py"
    if not source.exists():
        source = PACKAGE / f"{module}.pyi"  # the extension
    assert modules_not_below(module, source.read_text()) == []


@pytest.mark.parametrize(
    "source, wrong",
    [
        ("from ._enums import Event\nfrom . import _native", []),
        ("import os.path\nfrom typing import Any", []),
        ("from ._link import ESHM", ["_link"]),
        ("from . import _link", ["_link"]),
        ("import eshm._link", ["_link"]),
        ("from eshm import ESHM", ["__init__"]),
        ("from . import ESHM", ["__init__"]),
        ("import eshm", ["__init__"]),
        ("if TYPE_CHECKING:\n    from ._link import ESHM", ["_link"]),
        ("def later():\n    from .typed import Sender", ["typed"]),
        ("from . import _aio", ["_aio"]),
    ],
)
def test_an_upward_import_is_found_wherever_it_is(source, wrong):
    assert modules_not_below("_aio", source) == wrong


def test_the_names_of_the_record_types_are_where_programs_import_them():
    from eshm.typed import Receiver, RecordType, Sender, fingerprint_of

    assert (eshm.Receiver, eshm.Sender) == (Receiver, Sender)
    assert eshm.RecordType is RecordType
    assert fingerprint_of("") == 0xCBF29CE484222325


def test_a_program_that_sends_bytes_does_not_load_the_record_types():
    code = """
import sys, eshm
eshm.Channel(max_message_size=8)
print(sorted({"eshm._records", "eshm.typed", "eshm._aio", "eshm._notices"} & set(sys.modules)))
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
