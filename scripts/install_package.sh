#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Installs the Python package of this tree by pip, as a wheel, into the
# environment that setup.sh has made, or wherever pip's options say:
#   scripts/install_package.sh NAME [PIP-OPTION...]
# NAME tells builds apart (build-scripts/py-NAME).
set -euo pipefail
cd "$(dirname "$0")/.."
build=build-scripts/py-$1
shift
build-scripts/venv/bin/pip install . --no-deps --no-build-isolation --disable-pip-version-check \
  --force-reinstall --config-settings=build-dir="$PWD/$build" "$@" >"$build.log" 2>&1 ||
  { cat "$build.log"; echo "install_package: the Python package failed" >&2; exit 1; }
