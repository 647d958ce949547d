#pragma once
// QUERN_ASSERT guards our own logic, in release builds too; input is never asserted on.

namespace quern {
/// Prints the broken condition with its place to stderr, then aborts.
[[noreturn]] void assertion_failed(const char* condition, const char* file, int line) noexcept;
}  // namespace quern

#define QUERN_ASSERT(condition) \
  ((condition) ? static_cast<void>(0) : ::quern::assertion_failed(#condition, __FILE__, __LINE__))
