// What is declared and does not work yet says so. Each of these goes when its
// function comes.
#include "support/link.h"

namespace {

using namespace test;

class NotThereYet : public LinkTest {};

void expect_unsupported(int code, const char* call) {
  EXPECT_EQ(code, ESHM_ERROR_UNSUPPORTED) << call;
  EXPECT_EQ(last_error_code(), ESHM_ERROR_UNSUPPORTED) << call;
  EXPECT_NE(last_error(), "") << call;
}

TEST_P(NotThereYet, Observers) {
  const Link master = open_link(config(ESHM_ROLE_MASTER));
  ASSERT_TRUE(master) << last_error();
  EXPECT_FALSE(open_link(at_once(config(ESHM_ROLE_OBSERVER))));
  expect_unsupported(last_error_code(), "eshm_init of an observer");
}

ESHM_ON_BOTH_BACKENDS(NotThereYet);

}  // namespace
