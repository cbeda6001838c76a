#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# eshm.hpp beside headers whose macros have the names of things in it: Xlib's Status and
# the like, before it and after. The real headers are tried where they are installed.
. "$(dirname "$0")/support.sh"
flags=(-std=c++17 -Wall -Wextra -Werror -fsyntax-only -I"$prefix/include" -I"$here")
for order in -DBEFORE -DAFTER; do
  quietly $CXX "${flags[@]}" $order '-DMACROS="notorious_macros.h"' "$here/macros.cpp"
  if echo '#include <X11/Xlib.h>' | $CXX -fsyntax-only -x c++ - 2>/dev/null; then
    quietly $CXX "${flags[@]}" $order '-DMACROS=<X11/Xlib.h>' "$here/macros.cpp"
  fi
done
