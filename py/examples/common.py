# SPDX-License-Identifier: MIT
"""What the examples share: where the package is, options, and an end in good order."""

from __future__ import annotations

import argparse
import pathlib
import signal
import sys

try:
    import eshm
except ImportError:  # not installed: after py/build_shared_lib.sh it lies in py/
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
    import eshm

__all__ = ["eshm", "make_parser", "run"]

# The C++ demo's name, where none is given.
DEFAULT_NAME = "eshm_demo"


def make_parser(description: str | None) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("shm_name", nargs="?", default=DEFAULT_NAME, help="name of the link")
    return parser


def run(main: object) -> None:
    """Ctrl-C and SIGTERM end main() wherever it waits; its links are closed."""
    assert callable(main)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # in a shell's background, too
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    try:
        main()
    except KeyboardInterrupt:
        print()
    except (eshm.Error, eshm.Timeout) as error:
        sys.exit(f"{type(error).__name__}: {error}")
