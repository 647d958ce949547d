#pragma once
// Requests that were created from here, on disk before they are polled: what `quern result ID`
// resumes from. One JSON line each in $XDG_STATE_HOME/quern/requests.jsonl (else
// ~/.local/state/quern/…).

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "quern/client.h"

namespace quern {

inline constexpr std::uintmax_t kRequestLogBytesMax = 1
                                                      << 20;  // above it, the older half is dropped

inline constexpr std::string_view kLastRequest = "last";  // in place of an id: the latest

class RequestLog {
 public:
  /// In the user's state folder.
  RequestLog();
  explicit RequestLog(std::filesystem::path file) : file_(std::move(file)) {}

  /// On the disk when this returns. Errors: unavailable.
  Result<void> remember(const TaskHandle& task, std::string_view url);
  /// The task of that id, and the latest one for kLastRequest; of this model, if one is given.
  [[nodiscard]] std::optional<TaskHandle> find(std::string_view request_id,
                                               std::string_view of_model = {}) const;
  [[nodiscard]] const std::filesystem::path& file() const { return file_; }

 private:
  std::filesystem::path file_;
};

}  // namespace quern
