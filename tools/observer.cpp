// SPDX-License-Identifier: MIT
#include "observer.h"

#include "links.h"
#include "run.h"

namespace tool {

bool Observer::open(const std::string& name) {
  ESHMConfig config = eshm_default_config(name.c_str());
  config.role = ESHM_ROLE_OBSERVER;
  config.permissions = 0666;  // whatever mode the link has
  config.interrupt = interrupt_when_stopping;
  handle_.reset(eshm_init(&config));
  return handle_ != nullptr;
}

int Observer::read(uint32_t timeout_ms) {
  for (;;) {
    info_ = {};
    info_.struct_size = sizeof info_;
    const int code =
        eshm_read_msg(handle_.get(), buffer_.data(), buffer_.size(), &info_, timeout_ms);
    if (code != ESHM_ERROR_BUFFER_TOO_SMALL) return code;
    buffer_.resize(size_t(info_.size));
  }
}

const Type* KnownType::get(uint32_t generation) {
  if (!is_known_ || generation != generation_) {
    std::string why;
    const std::string text = type_text(name_, direction_);
    is_typed_ = !text.empty() && parse_type(text, type_, why);
    is_known_ = true;
    generation_ = generation;
  }
  return is_typed_ ? &type_ : nullptr;
}

bool is_in_use(const std::string& name) {
  const ESHMLinkInfo link = inspect(name);
  return link.master.holds_role || link.slave.holds_role;
}

}  // namespace tool
