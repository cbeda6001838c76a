#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# ESHM as a folder of a larger project, and in that project's own package.
. "$(dirname "$0")/support.sh"
mkdir "$work/larger"
cp "$here"/subproject/* "$work/larger/"
cp "$here"/talk.c* "$work/"
copy_source "$work/larger/third party/eshm"
configure -S "$work/larger" -B "$work/build" -DCMAKE_UNITY_BUILD=ON -DCMAKE_INSTALL_PREFIX="$work/package"
quietly cmake --build "$work/build" -j 2
(cd "$work/build" && talks ./test_basic ./test_performance ./calls ./c_static ./cpp_shared)
[ "$(ctest --test-dir "$work/build" -N | sed -n 's/^Total Tests: //p')" = 1 ] || fail "tests of ESHM are among the larger project's"
quietly cmake --install "$work/build"
[ ! -e "$work/package/include" ] || fail "ESHM installs what the larger project did not ask for"
mkdir "$work/package/include"
cp "$source"/include/* "$work/package/include"
configure -S "$here/parent_package" -B "$work/consumer" -DLARGER="$work/package"
quietly cmake --build "$work/consumer"
talks "$work/consumer/c_shared" "$work/consumer/c_static"

# With ESHM_INSTALL its own package is installed beside the larger project's, which refers
# to it.
configure -S "$work/larger" -B "$work/build" -DESHM_INSTALL=ON -DCMAKE_INSTALL_PREFIX="$work/both"
quietly cmake --build "$work/build" -j 2
quietly cmake --install "$work/build"
configure -S "$here/parent_package" -B "$work/consumer2" -DLARGER="$work/both" -DESHM_PACKAGE=ON -DCMAKE_PREFIX_PATH="$work/both"
quietly cmake --build "$work/consumer2"
talks "$work/consumer2/c_shared" "$work/consumer2/c_static"

# Asked for, tests and all else have names of their own, too.
configure -S "$work/larger" -B "$work/with-tests" -DESHM_BUILD_TESTS=ON -DESHM_MODEL_TESTS=OFF \
  -DESHM_ABI_TEST=ON -DESHM_INSTRUCTIONS_TEST=ON
