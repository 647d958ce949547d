#pragma once
// Large files that come in parts: each part is a file of its own, until one is made of all.

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
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

/// How large the files of each upload are: its parts, and what is put as a whole, which has the number 0. Those that are
/// there and those that still grow are together no larger than two wholes may be, since a caller may begin again with
/// parts of another size. In memory only, so a restart forgets it. Threads: any.
class UploadSizes {
  struct Sizes;

 public:
  /// The room that a file takes while it grows, given back at the end of this object unless it was kept.
  class Growing {
   public:
    Growing(std::shared_ptr<Sizes> sizes, std::uint32_t part)
        : sizes_(std::move(sizes)), part_(part) {}
    Growing(Growing&&) noexcept = default;
    Growing& operator=(Growing&&) = delete;
    ~Growing();

    /// The bytes that it may grow by for now.
    [[nodiscard]] std::uint64_t room() const;
    /// Before the bytes are written. False: there is no room for them, and none was taken.
    [[nodiscard]] bool grow(std::uint64_t bytes);
    /// The file is stored, in place of an earlier one of its number. Once, and the last call.
    void keep();

   private:
    std::shared_ptr<Sizes> sizes_;  // null once the room is no longer this object's
    std::uint32_t part_;
    std::uint64_t bytes_ = 0;
  };

  /// An upload is forgotten so long after its first file began.
  UploadSizes(std::uint64_t whole_bytes_max, std::chrono::milliseconds kept)
      : whole_max_(whole_bytes_max), kept_(kept) {}

  Growing begin(const std::string& nonce, std::uint32_t part, SteadyTime now);
  /// Those are about to be removed: whoever puts one now puts a new one.
  void forget(const std::string& nonce, std::span<const std::uint32_t> parts);

 private:
  struct Sizes {
    explicit Sizes(std::uint64_t bytes_max) : whole_max(bytes_max) {}

    /// For a file that has grown by `own` bytes so far. Under the lock.
    [[nodiscard]] std::uint64_t room_beside(std::uint64_t own) const;

    const std::uint64_t whole_max;
    std::mutex mutex;                               // guards what follows
    std::map<std::uint32_t, std::uint64_t> stored;  // by number
    std::uint64_t sum = 0;                          // of those and of what grows
  };

  const std::uint64_t whole_max_;
  const std::chrono::milliseconds kept_;
  std::mutex mutex_;  // guards what follows
  std::unordered_map<std::string, std::shared_ptr<Sizes>> uploads_;
  std::deque<std::pair<SteadyTime, std::string>> begun_;  // those of uploads_
};

/// Threads: any. Of one upload one call is at work at a time; who calls meanwhile does not wait for it.
class UploadAssembler {
 public:
  static constexpr std::size_t kWaitingMax = 16;
  using Done = std::move_only_function<void(Result<Output>)>;

  /// All outlive it.
  UploadAssembler(ArtifactStore& store, const UploadLinks& links, UploadSizes& sizes)
      : store_(store), links_(links), sizes_(sizes) {}

  /// Makes one file of the parts, which are removed; for one that was made before, finds it, and removes what a crash
  /// left of its parts. At most `bytes_max` bytes. `done` is called before this returns, or, where another call for this
  /// upload is at work, by that one's thread when its turn comes. invalid_argument: a part was not uploaded, the message
  /// says which; too_large; unavailable: this machine lacks room or descriptors, and all parts are still there;
  /// rate_limited: kWaitingMax others wait for this upload. May block. Durable when it is done.
  void assemble(UploadInParts upload, std::uint64_t bytes_max, Done done);

 private:
  struct Turn {
    UploadInParts upload;
    std::uint64_t bytes_max;
    Done done;
  };

  /// False: `turn` waits, or was refused.
  bool begin(Turn& turn);
  std::optional<Turn> next(const std::string& nonce);
  Result<Output> make_whole(const UploadInParts& upload, std::uint64_t bytes_max);

  ArtifactStore& store_;
  const UploadLinks& links_;
  UploadSizes& sizes_;
  std::mutex mutex_;                                           // guards waiting_
  std::unordered_map<std::string, std::deque<Turn>> waiting_;  // of the uploads that are at work
};

}  // namespace quern::api
