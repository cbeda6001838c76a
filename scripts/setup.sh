#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Installs what is missing for building and running: setup.sh [demo|test]
# (test, the default, wants more). Quick and silent where nothing is missing.
# Without root and sudo it names the packages to ask for, and exits with 1.
set -euo pipefail

packages=(build-essential cmake)
if [ "${1:-test}" = test ]; then
  packages+=(ninja-build clang libgtest-dev libbenchmark-dev strace libfaketime util-linux spin abigail-tools valgrind
    libcli11-dev tmux python3-dev python3-venv)
fi

installed() {
  [ "$(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

install_packages() {
  local as_root=()
  if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null || ! sudo -v; then
      echo "setup: these packages are missing, and I may not install them: $*" >&2
      echo "setup: ask for: apt-get install $*" >&2
      exit 1
    fi
    as_root=(sudo)
  fi
  echo "setup: installing $*"
  "${as_root[@]}" apt-get update -q
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get install -q -y --no-install-recommends "$@"
}

if ! command -v dpkg-query >/dev/null; then
  for tool in cmake c++ make; do
    command -v "$tool" >/dev/null && continue
    echo "setup: $tool is missing; this system has no dpkg, so install what is called here: ${packages[*]}" >&2
    exit 1
  done
  exit 0
fi

missing=()
for package in "${packages[@]}"; do
  installed "$package" || missing+=("$package")
done
[ ${#missing[@]} -eq 0 ] || install_packages "${missing[@]}"

# Clang's sanitizers: a package of their own on some releases, and named for
# Clang's version, which is known only now.
if [ "${1:-test}" = test ]; then
  runtime=$(clang -print-resource-dir)/lib
  if [ -z "$(find -L "$runtime" -name 'libclang_rt.tsan*' -print -quit 2>/dev/null)" ]; then
    install_packages "libclang-rt-$(clang -dumpversion | cut -d. -f1)-dev"
  fi
fi

# The Python end's packages: a virtual environment from the lock file, made
# anew when that file or the python3 on the PATH changes.
if [ "${1:-test}" = test ]; then
  cd "$(dirname "$0")/.."
  venv=build-scripts/venv
  wanted=$(python3 -c 'import sys; print(sys.version, sys.executable)'; cat py/requirements-test.lock)
  if [ "$(cat "$venv/made-from" 2>/dev/null)" != "$wanted" ]; then
    echo "setup: making the Python environment"
    rm -rf "$venv"
    mkdir -p build-scripts
    python3 -m venv "$venv"
    "$venv/bin/pip" install -q --disable-pip-version-check --require-hashes \
      --only-binary :all: -r py/requirements-test.lock
    echo "$wanted" >"$venv/made-from"
  fi
fi
