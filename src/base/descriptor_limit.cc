#include "base/descriptor_limit.h"

#include <algorithm>
#include <atomic>

namespace quern {
namespace {

// Of the process, as its limit is. 0: it was not raised.
std::atomic<rlim_t> given{0};

rlimit current_limit() {
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  return limit;
}

}  // namespace

rlim_t raise_descriptor_limit() {
  const rlimit before = current_limit();
  const rlimit raised{.rlim_cur = before.rlim_max, .rlim_max = before.rlim_max};
  if (::setrlimit(RLIMIT_NOFILE, &raised) == 0) given = before.rlim_cur;
  return current_limit().rlim_cur;
}

rlimit program_descriptor_limit() {
  rlimit limit = current_limit();
  if (const rlim_t before = given; before != 0) limit.rlim_cur = std::min(before, limit.rlim_max);
  return limit;
}

}  // namespace quern
