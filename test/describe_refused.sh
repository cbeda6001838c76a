#!/bin/sh
# SPDX-License-Identifier: MIT
# What ESHM_DESCRIBE cannot describe does not compile, and the compiler shows a sentence.
#   describe_refused.sh COMPILER INCLUDE-FOLDER
set -eu
compiler=$1
include=$2
failed=0

# refused WORDS DECLARATIONS
refused() {
  if output=$(printf '#include <string>\n#include "eshm_types.hpp"\n%s\n' "$2" |
    "$compiler" -std=c++17 -fsyntax-only -I"$include" -x c++ - 2>&1); then
    echo "compiled: $2"
    failed=1
  elif ! printf '%s' "$output" | grep -q "$1"; then
    printf 'without "%s": %s\n%s\n' "$1" "$2" "$output"
    failed=1
  fi
}

# fields COUNT: q1, q2, ...
fields() { seq -f 'q%.0f' -s ', ' "$1"; }

refused 'a field is a pointer' 'struct S { int a; char* p; }; ESHM_DESCRIBE(S, a, p);'
refused 'a field is a pointer' 'struct S { int* p[3]; }; ESHM_DESCRIBE(S, p);'
refused 'a field is a pointer' 'struct S { std::array<void (*)(), 2> p; }; ESHM_DESCRIBE(S, p);'
refused 'a field is a pointer' 'struct S { int S::*p; }; ESHM_DESCRIBE(S, p);'
refused 'a reference' 'struct S { int a; int& r; }; ESHM_DESCRIBE(S, a, r);'
refused 'a bit-field' 'struct S { int a : 3; int b; }; ESHM_DESCRIBE(S, a, b);'
refused 'std::string and std::vector' 'struct S { int a; std::string s; }; ESHM_DESCRIBE(S, a, s);'
refused 'virtual functions' 'struct S { virtual ~S(); int a; }; ESHM_DESCRIBE(S, a);'
refused 'it is private' 'class S { int a; }; ESHM_DESCRIBE(S, a);'
refused 'misspelled' 'struct S { int a; }; ESHM_DESCRIBE(S, b);'
refused 'static' 'struct S { int a; static int b; }; ESHM_DESCRIBE(S, b);'
refused 'a field is a union' 'union U { int a; float b; }; struct S { U u; }; ESHM_DESCRIBE(S, u);'
refused 'only a struct or class' 'union U { int a; float b; }; ESHM_DESCRIBE(U, a, b);'
refused 'long double' 'struct S { long double a; }; ESHM_DESCRIBE(S, a);'
refused 'ESHM_DESCRIBE of its own' 'struct P { int a; }; struct S { P p; }; ESHM_DESCRIBE(S, p);'
refused 'fields all are in the same class' \
  'struct B { int a; }; struct S : B { int b; }; ESHM_DESCRIBE(S, a, b);'
refused 'takes 64 fields' "struct S { int $(fields 65); }; ESHM_DESCRIBE(S, $(fields 65));"
refused 'takes 64 fields' "struct S { int $(fields 128); }; ESHM_DESCRIBE(S, $(fields 128));"
exit $failed
