#pragma once
// Which web pages of other origins may call, and what they may send and see (docs/API.md, "Browsers").

#include <string>
#include <string_view>
#include <vector>

#include "api/request_heads.h"
#include "http/message.h"

namespace quern::api {

/// Immutable. Threads: any.
class Cors {
 public:
  explicit Cors(std::vector<std::string> origins);

  /// Adds what every answer to an allowed origin carries; nothing for others.
  void add_to(std::string& head, std::string_view origin) const;
  /// Adds what a preflight asks for besides.
  void add_preflight_to(std::string& head, const RequestHeads& heads) const;

 private:
  [[nodiscard]] bool allows(std::string_view origin) const;

  std::vector<std::string> origins_;
  bool any_ = false;
};

}  // namespace quern::api
