// SPDX-License-Identifier: MIT
// Which end of a link removes its name, and how.
#pragma once

#include <memory>

#include "endpoint/segment_file.h"

namespace eshm::endpoint {

// How long an end that leaves waits for a process that is changing the roles.
constexpr uint64_t kCleanupPatienceNs = 1'000 * os::kNsPerMs;

// For an end that leaves, while it holds its role. Removes the name if the segment's
// auto_cleanup says so and it is the last one out, or the master of a link without a queue.
// SHM_DELETE if the name stays though it should not.
// `patience_ns` 0 never waits. `awaited_from`: the segment from which a slave is to come to
// this one, if it has not left that; null: none.
Failure clean_up_name(const Settings& settings, ESHMRole role,
                      const std::shared_ptr<SegmentFile>& segment, uint64_t patience_ns,
                      const SegmentFile* awaited_from = nullptr);

// Holds the role there, and has not said that it leaves it (CL1).
bool stays(const SegmentFile& segment, ESHMRole role);

// A slave's: its master has renewed the link with a segment that keeps a seat for it, and
// died. Removes the name of that one. `own`: the slave's incarnation.
void clean_up_renewed(const Settings& settings, uint64_t own, uint64_t patience_ns);

}  // namespace eshm::endpoint
