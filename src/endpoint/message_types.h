// SPDX-License-Identifier: MIT
// What the messages of a link are: the two descriptions in the segment, and
// the sentence that tells where two ends differ.
#pragma once

#include "endpoint/failure.h"
#include "endpoint/segment_file.h"

namespace eshm::endpoint {

// The creator's texts, into a segment that has no name yet. Returns 0 or the errno.
int write_type_texts(const Settings& settings, const SegmentFile& segment);

// What the creator of the segment in `file` wrote there; "" for none.
std::string type_text_in(const os::Fd& file, const layout::ChannelGeometry& geometry);
std::string type_text_in(const SegmentFile& segment, layout::Direction direction);

// TYPE_MISMATCH where this end and the segment name unlike types.
Failure compare_types(const Settings& settings, const SegmentFile& segment);

}  // namespace eshm::endpoint
