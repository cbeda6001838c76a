// SPDX-License-Identifier: MIT
#include "endpoint/full_queue.h"

namespace eshm::endpoint {

std::string describe(const FullQueue& queue) {
  std::string text = "it holds " + std::to_string(queue.unread) + " unread messages";
  if (queue.in_hand != 0) {
    text += " and " + std::to_string(queue.in_hand) + " in the reader's hands";
  }
  text += " (" + std::to_string(queue.ring_bytes) + " bytes)";
  if (queue.loans_out != 0) {
    text += ", besides " + std::to_string(queue.loans_out) +
            " open loans and what was written after them";
  }
  return text + (queue.was_taken_from
                     ? "; the reader last took one " + std::to_string(queue.taken_ms_ago) +
                           " ms ago"
                     : "; no reader has taken one since this end was opened") +
         "; the process that creates the segment sets its queue_capacity";
}

}  // namespace eshm::endpoint
