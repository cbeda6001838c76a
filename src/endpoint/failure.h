// SPDX-License-Identifier: MIT
// Why something did not work: code, errno and a sentence with the object.
#pragma once

#include <string>
#include <utility>

#include "eshm_data.h"

namespace eshm::endpoint {

struct Failure {
  int code = ESHM_SUCCESS;
  int error_number = 0;  // 0: not the kernel's doing
  std::string text;
  bool may_pass = false;  // another process may soon give back what is missing

  explicit operator bool() const { return code != ESHM_SUCCESS; }
};

inline Failure success() { return {}; }

inline Failure fail(int code, std::string text, int error_number = 0) {
  return {code, error_number, std::move(text), false};
}

}  // namespace eshm::endpoint
