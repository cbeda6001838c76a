#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# The library as a package brings it: installed by DESTDIR for one prefix and moved to
# another, whose path has a space, where the other tests use it.
#   prefix.sh FOLDER    ($ESHM_BUILD: the build folder)
. "$(dirname "$0")/support.sh"
DESTDIR=$work/stage quietly cmake -DCMAKE_INSTALL_PREFIX=/opt/eshm -P "$ESHM_BUILD/cmake_install.cmake"
rm -rf "$1"
mkdir -p "$(dirname "$1")"
mv "$work/stage/opt/eshm" "$1"
[ -z "$(find "$work/stage" -type f)" ] || fail "files outside the prefix: $(find "$work/stage" -type f)"
for file in include/eshm.h include/eshm.hpp 'lib*/cmake/eshm/eshm-config.cmake' \
    'lib*/cmake/eshm/eshm-config-version.cmake' 'lib*/pkgconfig/eshm.pc' 'lib*/libeshm.so' 'lib*/libeshm.a' \
    'share/doc/eshm/LICENSE'; do
  [ -n "$(find "$1" -path "$1/$file" -o -path "$1/${file/lib\*/lib/*}")" ] || fail "$file is not installed"
done
if found=$(grep -rlIF -e "$source/" -e "$ESHM_BUILD/" -e "$work" "$1"); then
  fail "they name folders of the build: $found"
fi
echo "installed $(find "$1" -type f -o -type l | wc -l) files"
