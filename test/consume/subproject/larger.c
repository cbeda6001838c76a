/* SPDX-License-Identifier: MIT */
#include "eshm.h"

const char* larger_name(int code);

const char* larger_name(int code) { return eshm_error_string(code); }
