# SPDX-License-Identifier: MIT
# For the tests of this folder: source it first. Each gets the compilers in CC and CXX,
# $source (the source folder), $prefix (where the library is installed, see prefix.sh) and
# an empty folder $work, which is gone at the end.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source=$(cd "$here/../.." && pwd)
: "${CC:=cc}" "${CXX:=c++}" "${ESHM_BUILD:=}"
export CC CXX
prefix=${ESHM_PREFIX:-}
work=$(mktemp -d)
# So that no program finds a library but by the paths that it was built with, and no build
# inherits flags.
unset LD_LIBRARY_PATH CFLAGS CXXFLAGS LDFLAGS CMAKE_PREFIX_PATH PKG_CONFIG_PATH DESTDIR
trap 'rm -rf "$work"' EXIT

fail() { echo "$(basename "$0"): $*" >&2; exit 1; }

# quietly COMMAND...: its output is shown only if it fails.
quietly() { "$@" >"$work/output" 2>&1 || { cat "$work/output"; fail "failed: $*"; }; }

# Ninja where it is there: it is quicker.
generator=$(command -v ninja >/dev/null && echo Ninja || echo "Unix Makefiles")
configure() { quietly cmake -G "$generator" "$@"; }

# talks PROGRAM...: each must print "talked".
talks() {
  local program
  for program in "$@"; do
    [ "$("$program")" = talked ] || fail "$program did not talk"
  done
}

# copy_source FOLDER: what a release's archive holds for building.
copy_source() {
  mkdir -p "$1"
  (cd "$source" && tar cf - --exclude='build*' CMakeLists.txt LICENSE include src examples test bench packaging tools) |
    tar xf - -C "$1"
}
