// SPDX-License-Identifier: MIT
// What went wrong last on this thread.
#pragma once

#include "endpoint/failure.h"

namespace eshm::api {

// Remember a failure; answers its code.
int remember(const endpoint::Failure& failure);
// The same without formatting or allocation: for outcomes that a polling
// caller meets all the time. `text` must live for ever.
int remember_static(int code, const char* text);

const char* last_error(int* code);

}  // namespace eshm::api
