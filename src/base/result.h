#pragma once
// Result<T>: a value or an Error. Expected failures are values in the signature; broken invariants
// stop the process (base/assert.h).

#include <chrono>
#include <cstdint>
#include <expected>
#include <string>
#include <utility>

namespace quern {

/// Few, and chosen by what the caller does next.
enum class ErrorCode : std::uint8_t {
  invalid_argument,
  unauthenticated,
  permission_denied,
  not_found,   // no such thing, or not yours to see
  conflict,    // the current state forbids it
  lease_lost,  // another attempt owns the task: drop the work
  too_large,
  rate_limited,  // retry after `retry_after`
  unavailable,   // retry after `retry_after`
  data_loss,     // stop writing, call an operator
  internal,      // a bug
};

struct Error {
  ErrorCode code = ErrorCode::internal;
  std::string message;
  std::chrono::milliseconds retry_after{0};
};

/// std::expected, but nodiscard as a type (g++ 12's is not).
template <typename T>
class [[nodiscard]] Result : public std::expected<T, Error> {
 public:
  using std::expected<T, Error>::expected;
};

template <>
class [[nodiscard]] Result<void> : public std::expected<void, Error> {
 public:
  using std::expected<void, Error>::expected;
};

/// `return fail(ErrorCode::not_found, "…")` in any function that returns a Result.
inline std::unexpected<Error> fail(ErrorCode code, std::string message,
                                   std::chrono::milliseconds retry_after = {}) {
  return std::unexpected(Error{code, std::move(message), retry_after});
}

/// Hands the error of one Result on as another's.
template <typename T>
std::unexpected<Error> fail(Result<T>&& failed) {
  return std::unexpected(std::move(failed).error());
}

}  // namespace quern
