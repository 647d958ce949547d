#pragma once
// URLs of stored files: <scheme>://<anything>/files/<key>/<name>.

#include <optional>
#include <string>
#include <string_view>

namespace quern {

struct StoredFileUrl {
  std::string file_key;
  std::string file_name;  // percent-decoded
};

/// nullopt unless `url` is an http or https URL whose path ends in a well-formed key and a name; a
/// query and a fragment are passed over. Whether there is such a file, the store knows.
[[nodiscard]] std::optional<StoredFileUrl> parse_stored_file_url(std::string_view url);

/// Each %XX becomes its byte; a "%" that begins no escape stands for itself.
[[nodiscard]] std::string unescape_percent(std::string_view text);

}  // namespace quern
