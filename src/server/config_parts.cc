#include "server/config_parts.h"

#include <algorithm>

namespace quern {
namespace {

// What is left of `text` behind the string that it begins with. One that is not closed ends with its line,
// or with the text: the parser will say so.
std::string_view skip_string(std::string_view text) {
  const char quote = text.front();
  const std::string_view fence = quote == '"' ? R"(""")" : "'''";
  const bool is_long = text.starts_with(fence);
  text.remove_prefix(is_long ? 3 : 1);
  while (!text.empty()) {
    if (is_long ? text.starts_with(fence) : text.front() == quote) {
      text.remove_prefix(is_long ? 3 : 1);
      // A long string may end with two quotes of its own.
      for (int own = 0; is_long && own < 2 && text.starts_with(quote); ++own) text.remove_prefix(1);
      return text;
    }
    if (!is_long && text.front() == '\n') return text;
    const bool is_escape = quote == '"' && text.front() == '\\' && text.size() > 1;
    text.remove_prefix(is_escape ? 2 : 1);
  }
  return text;
}

}  // namespace

std::optional<std::size_t> find_key_of_many_parts(std::string_view toml) {
  std::size_t dots = 0;
  for (std::string_view rest = toml; !rest.empty();) {
    const char c = rest.front();
    if (c == '"' || c == '\'') {
      rest = skip_string(rest);
      continue;
    }
    if (c == '#') {
      rest.remove_prefix(std::min(rest.find('\n'), rest.size()));
      continue;
    }
    // A key and a header stand on one line, and these cannot be in them.
    if (std::string_view("\n=,{}[]").find(c) != std::string_view::npos) dots = 0;
    if (c == '.' && ++dots == kKeyPartsMax) {
      const std::string_view before = toml.substr(0, toml.size() - rest.size());
      return 1 + static_cast<std::size_t>(std::ranges::count(before, '\n'));
    }
    rest.remove_prefix(1);
  }
  return std::nullopt;
}

}  // namespace quern
