#pragma once
// A disk that is soon full: a small file system in memory, mounted in a namespace of a child process
// of the test's, so that nobody else sees it.

#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <string>

namespace quern {

inline constexpr int kNoSmallDisk = 77;

/// Runs `check` in the child with a tmpfs of `options` ("size=4m") mounted at `folder`. Returns 0; 1: the
/// check has failed; kNoSmallDisk: this user may not mount.
template <typename Check>
int with_small_disk(const std::filesystem::path& folder, const std::string& options, Check check) {
  const pid_t child = ::fork();
  if (child == 0) {
    const bool is_alone =
        ::unshare(CLONE_NEWNS) == 0 || ::unshare(CLONE_NEWUSER | CLONE_NEWNS) == 0;
    const bool is_mounted = is_alone &&
                            ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
                            ::mount("quern-test", folder.c_str(), "tmpfs", 0, options.c_str()) == 0;
    if (!is_mounted) ::_exit(kNoSmallDisk);
    check();
    ::_exit(testing::Test::HasFailure() ? 1 : 0);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

}  // namespace quern
