#pragma once
// Large files that come in parts: each part is a file of its own, until one is made of all.

#include <array>
#include <cstdint>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "api/upload_links.h"
#include "artifact/artifact_store.h"
#include "base/result.h"

namespace quern::api {

/// What every part is called; its key tells which it is.
inline constexpr std::string_view kUploadPartName = "part";

struct UploadInParts {
  std::string nonce;                 // the random name behind its upload token
  std::string name;                  // of the whole
  std::vector<std::uint32_t> parts;  // ascending, from 1
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
