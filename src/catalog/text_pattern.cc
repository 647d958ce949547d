#include "catalog/text_pattern.h"

#include <fmt/format.h>

#include <regex>

#include "base/utf8.h"

namespace quern {
namespace {

// libstdc++'s default matcher recurses for each character and may take exponential time. This mode
// of it (an extension) advances all alternatives together instead.
constexpr auto kLinear = std::regex_constants::ECMAScript | std::regex_constants::__polynomial;
constexpr std::size_t kPatternBytesMax = 1'000;

std::wstring widen(std::string_view text) {
  std::wstring wide;
  wide.reserve(text.size());
  while (!text.empty()) {
    const DecodedUtf8 next = decode_utf8(text);
    wide += static_cast<wchar_t>(next.valid ? next.code_point : U'\uFFFD');
    text.remove_prefix(next.bytes);
  }
  return wide;
}

}  // namespace

struct TextPattern::Compiled {
  std::wregex regex;
};

TextPattern::TextPattern(std::string source, std::unique_ptr<const Compiled> compiled)
    : source_(std::move(source)), compiled_(std::move(compiled)) {}
TextPattern::~TextPattern() = default;
TextPattern::TextPattern(TextPattern&&) noexcept = default;
TextPattern& TextPattern::operator=(TextPattern&&) noexcept = default;

Result<TextPattern> TextPattern::compile(std::string_view pattern) {
  if (pattern.size() > kPatternBytesMax) {
    return fail(ErrorCode::invalid_argument,
                fmt::format("a pattern may have {} bytes at most", kPatternBytesMax));
  }
  try {
    const std::wstring wide = widen(pattern);
    const std::wregex alone(wide, kLinear);  // so that "a)(b" is refused
    // A search would start anew at each place, in quadratic time. One match that may skip does not.
    return TextPattern(std::string(pattern), std::make_unique<const Compiled>(Compiled{
                                                 std::wregex(L"[^]*?(?:" + wide + L")", kLinear)}));
  } catch (const std::regex_error& error) {
    return fail(ErrorCode::invalid_argument,
                fmt::format("not a regular expression: {}", error.what()));
  } catch (const std::bad_alloc&) {
    return fail(ErrorCode::invalid_argument, "the pattern is too large");
  }
}

bool TextPattern::matches(std::string_view text) const {
  if (count_utf8(text) > kPatternTextMax) return false;
  return std::regex_search(widen(text), compiled_->regex, std::regex_constants::match_continuous);
}

}  // namespace quern
