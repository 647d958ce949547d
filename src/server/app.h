#pragma once
// The whole server: every part, made and wired in one place.

#include <memory>
#include <string>

#include "base/result.h"
#include "server/settings.h"

namespace quern {

class App {
 public:
  /// Opens the store, brings back its tasks, starts everything and listens. Errors:
  /// invalid_argument (settings that do not fit each other), unavailable (port in use, data folder
  /// in use or not writable), data_loss (damaged store).
  static Result<std::unique_ptr<App>> start(Settings settings);
  /// Stops at once, handing running tasks back.
  ~App();

  [[nodiscard]] const std::string& url() const;
  /// Takes over keys, models, limits and the TLS files' content; what else has changed waits for a
  /// restart, and is named in the log. Errors: invalid_argument; then nothing was changed, but the
  /// certificate maybe.
  Result<void> reload(Settings settings);
  /// Refuses creates, waits for running tasks as long as `[server] drain_timeout` says, hands back
  /// the rest, ends.
  void drain();

 private:
  struct Parts;
  explicit App(std::unique_ptr<Parts> parts);
  std::unique_ptr<Parts> parts_;
};

}  // namespace quern
