#include "server/serve.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#include "base/assert.h"

namespace quern {
namespace {

// Ends the process; 1 if its output could be written after all.
void print_settings_to_a_full_disk() {
  QUERN_ASSERT(::dup2(::open("/dev/full", O_WRONLY | O_CLOEXEC), STDOUT_FILENO) == STDOUT_FILENO);
  const int code = serve({.config = {}, .listen = {}, .data = {}, .settings = true});
  std::_Exit(std::ferror(stdout) != 0 ? code : 1);
}

// Who calls it looks at stdout.
TEST(Serve, ReturnsWhereTheSettingsCannotBePrinted) {
  EXPECT_EXIT(print_settings_to_a_full_disk(), ::testing::ExitedWithCode(0), "^$");
}

}  // namespace
}  // namespace quern
