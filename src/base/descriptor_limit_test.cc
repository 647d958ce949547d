#include "base/descriptor_limit.h"

#include <gtest/gtest.h>

#include "testing/process_limit.h"

namespace quern {
namespace {

TEST(DescriptorLimit, IsRaisedForThisProcessAloneAndNotForItsPrograms) {
  const ProcessLimit given(RLIMIT_NOFILE, 100);
  EXPECT_EQ(program_descriptor_limit().rlim_cur, 100U);

  const rlim_t raised = raise_descriptor_limit();

  rlimit now{};
  ::getrlimit(RLIMIT_NOFILE, &now);
  EXPECT_EQ(raised, now.rlim_max);
  EXPECT_EQ(now.rlim_cur, now.rlim_max);
  EXPECT_EQ(program_descriptor_limit().rlim_cur, 100U);
  EXPECT_EQ(program_descriptor_limit().rlim_max, now.rlim_max);
}

}  // namespace
}  // namespace quern
