// SPDX-License-Identifier: MIT
// What went wrong last on this thread.
#pragma once

#include "endpoint/failure.h"
#include "endpoint/full_queue.h"

namespace eshm::api {

// Remember a failure; answers its code.
int remember(const endpoint::Failure& failure);
// The same without formatting or allocation: for outcomes that a polling
// caller meets all the time. `text` must live for ever.
int remember_static(int code, const char* text);

// Likewise, of a queue without room: the sentence is made when it is asked for.
int remember_full_queue(int code, const endpoint::FullQueue& queue);

const char* last_error(int* code);

}  // namespace eshm::api
