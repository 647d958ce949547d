#pragma once
// Large files that come in parts: each part is a file of its own, until one is made of all.

#include <array>
#include <chrono>
#include <cstdint>
#include <deque>
#include <map>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "api/upload_links.h"
#include "artifact/artifact_store.h"
#include "base/clock.h"
#include "base/result.h"

namespace quern::api {

/// What every part is called; its key tells which it is.
inline constexpr std::string_view kUploadPartName = "part";

struct UploadInParts {
  std::string nonce;                 // the random name behind its upload token
  std::string name;                  // of the whole
  std::vector<std::uint32_t> parts;  // ascending, from 1
};

/// How large the parts are that are there of each upload: together no larger than two wholes may be, since a
/// caller may begin again with parts of another size. In memory only, so a restart forgets it. Threads: any.
class PartSizes {
 public:
  /// An upload is forgotten so long after its first part.
  PartSizes(std::uint64_t whole_bytes_max, std::chrono::milliseconds kept)
      : part_max_(whole_bytes_max), sum_max_(2 * whole_bytes_max), kept_(kept) {}

  /// The bytes that a part may have beside the other ones.
  [[nodiscard]] std::uint64_t room_for(const std::string& nonce, std::uint32_t part) const;
  /// The part has come, in place of an earlier one of its number. False: others came meanwhile, so that it is
  /// too large, and has to go.
  bool add(const std::string& nonce, std::uint32_t part, std::uint64_t bytes, SteadyTime now);
  /// Those were removed.
  void forget(const std::string& nonce, std::span<const std::uint32_t> parts);

 private:
  struct Parts {
    std::map<std::uint32_t, std::uint64_t> bytes;  // by number
    std::uint64_t sum = 0;
  };

  const std::uint64_t part_max_;
  const std::uint64_t sum_max_;
  const std::chrono::milliseconds kept_;
  mutable std::mutex mutex_;  // guards what follows
  std::unordered_map<std::string, Parts> uploads_;
  std::deque<std::pair<SteadyTime, std::string>>
      begun_;  // those of uploads_, and some that are gone
};

/// Threads: any. Of one upload one call after the other; a few others may wait with it.
class UploadAssembler {
 public:
  /// Both outlive it.
  UploadAssembler(ArtifactStore& store, const UploadLinks& links) : store_(store), links_(links) {}

  /// Makes one file of the parts, which are removed; for one that was made before, finds it, and removes what a crash
  /// left of its parts. At most `bytes_max` bytes. invalid_argument: a part was not uploaded, the message says which;
  /// too_large; unavailable: this machine lacks room or descriptors, and all parts are still there. May block. Durable
  /// on return.
  Result<Output> assemble(const UploadInParts& upload, std::uint64_t bytes_max);

 private:
  ArtifactStore& store_;
  const UploadLinks& links_;
  std::array<std::mutex, 64> turns_;  // each guards the parts and the wholes of some nonces
};

}  // namespace quern::api
