// SPDX-License-Identifier: MIT
// What has a link's name, and how a segment gets it.
#pragma once

#include "endpoint/segment_file.h"

namespace eshm::endpoint {

// How it ended: done; or, without an error, that something else had the name by then.
struct Naming {
  bool has_name = false;
  int error_number = 0;
  bool is_done() const { return has_name; }
};

// Gives the name to a segment if nothing has it. The file may have another name already.
Naming give_free_name(const Settings& settings, const os::Fd& file);

// Marks `old` as superseded and gives its name to `fresh`, if the name still means it.
// Under the succession lock of `old`; takes that of `fresh` meanwhile, so that no other
// process changes the names before this one has looked at them. A kill at any point does no lasting harm: a marked
// segment counts as having no master, and the next holder of the lock removes a file left
// under the successor's name.
Naming give_name_over(const Settings& settings, SegmentFile& old,
                      const std::shared_ptr<SegmentFile>& fresh);

// Removes the file that a process left which was killed between making and naming a
// successor. The caller holds the named segment's succession lock, so no other process
// uses that file.
void remove_abandoned_successor(const Settings& settings);

}  // namespace eshm::endpoint
