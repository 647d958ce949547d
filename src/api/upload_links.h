#pragma once
// Upload URLs that authorise themselves: unguessable, limited in time, kept nowhere.
//
// A token is a random name, an end time, and a MAC over both. The file's own key is derived from
// the name by the secret, so whoever can read a file cannot replace it.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/random.h"

namespace quern::api {

/// Immutable. Threads: any.
class UploadLinks {
 public:
  /// `secret`: empty for a fresh one.
  UploadLinks(std::string secret, Random& random);

  /// For one path segment of a URL.
  [[nodiscard]] std::string make_token(Random& random, WallTime expires) const;
  /// The random name of a token that is ours and not over; else nullopt.
  [[nodiscard]] std::optional<std::string_view> open(std::string_view token, WallTime now) const;
  /// The key of the file of this name, or of one of its parts (from 1).
  [[nodiscard]] std::string file_key(std::string_view name, std::uint32_t part = 0) const;

 private:
  [[nodiscard]] std::string mac(std::string_view purpose, std::string_view text) const;

  std::string secret_;
};

}  // namespace quern::api
