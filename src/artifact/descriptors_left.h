#pragma once
// A shortage of descriptors, for tests.

#include <fcntl.h>
#include <sys/resource.h>

#include <cstddef>
#include <vector>

#include "artifact/file_descriptor.h"

namespace quern {

/// While it lives, this process may open `count` descriptors more.
class DescriptorsLeft {
 public:
  explicit DescriptorsLeft(std::size_t count) {
    ::getrlimit(RLIMIT_NOFILE, &before_);
    // The limit is one of their numbers: those that come next need not follow one another.
    rlimit few{0, before_.rlim_max};
    std::vector<FileDescriptor> next;
    while (next.size() < count) {
      next.emplace_back(::open("/dev/null", O_RDONLY | O_CLOEXEC));
      few.rlim_cur = static_cast<rlim_t>(next.back().get()) + 1;
    }
    ::setrlimit(RLIMIT_NOFILE, &few);
  }
  ~DescriptorsLeft() { ::setrlimit(RLIMIT_NOFILE, &before_); }
  DescriptorsLeft(const DescriptorsLeft&) = delete;
  DescriptorsLeft& operator=(const DescriptorsLeft&) = delete;

 private:
  rlimit before_{};
};

}  // namespace quern
