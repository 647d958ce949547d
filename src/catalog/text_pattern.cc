#include "catalog/text_pattern.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <iterator>
#include <regex>
#include <string_view>
#include <utility>

#include "base/utf8.h"

namespace quern {
namespace {

// libstdc++'s default matcher recurses for each character and may take exponential time. This mode
// of it (an extension) advances all alternatives together instead.
constexpr auto kLinear = std::regex_constants::ECMAScript | std::regex_constants::__polynomial;
constexpr std::size_t kPatternBytesMax = 1'000;
// The matcher has about a state for each character and recurses over them.
constexpr std::size_t kWrittenOutMax = 5'000;

// Looks a pattern over before the library does, which overflows on large numbers in it.
class Preview {
 public:
  explicit Preview(std::string_view pattern) : rest_(pattern) {
    while (!rest_.empty()) {
      written_out_ = std::min(written_out_ + sequence(), kWrittenOutMax + 1);
      if (!rest_.empty()) take();  // a stray ')', which the library refuses
    }
  }

  /// How long the pattern is with (ab){3} written as (ab)(ab)(ab), at most kWrittenOutMax + 1.
  [[nodiscard]] std::size_t written_out() const { return written_out_; }
  [[nodiscard]] bool has_back_reference() const { return has_back_reference_; }
  [[nodiscard]] bool has_control_escape() const { return has_control_escape_; }

 private:
  char take() {
    const char c = rest_.front();
    rest_.remove_prefix(1);
    return c;
  }

  // Up to the end of the pattern or of the group.
  std::size_t sequence() {
    std::size_t total = 0;
    std::size_t atom = 0;  // what a repetition would repeat
    while (!rest_.empty() && rest_.front() != ')') {
      const char c = take();
      if (c == '{') {
        atom *= repetitions();
      } else {
        total += std::exchange(atom, 1);
        if (c == '(') atom += group();
        if (c == '\\') escape();
        if (c == '[') bracket();
      }
      total = std::min(total, kWrittenOutMax + 1);
      atom = std::min(atom, kWrittenOutMax + 1);
    }
    return total + atom;
  }

  std::size_t group() {
    const std::size_t size = sequence();
    if (!rest_.empty()) take();
    return size;
  }

  void escape() {
    if (rest_.empty()) return;
    const char c = take();
    has_back_reference_ = has_back_reference_ || (c >= '1' && c <= '9');
    has_control_escape_ = has_control_escape_ || c == 'c';
  }

  void bracket() {
    while (!rest_.empty()) {
      const char c = take();
      if (c == ']') return;
      if (c == '\\') escape();
    }
  }

  // The larger number of "{n}", "{n,}" or "{n,m}".
  std::size_t repetitions() {
    std::size_t most = 1;
    std::size_t number = 0;
    while (!rest_.empty()) {
      const char c = take();
      const bool is_digit = c >= '0' && c <= '9';
      number = is_digit
                   ? std::min(number * 10 + static_cast<std::size_t>(c - '0'), kWrittenOutMax + 1)
                   : 0;
      most = std::max(most, number);
      if (c == '}') break;
    }
    return most;
  }

  std::string_view rest_;
  std::size_t written_out_ = 0;
  bool has_back_reference_ = false;
  bool has_control_escape_ = false;
};

Result<void> look_over(std::string_view pattern) {
  if (pattern.size() > kPatternBytesMax) {
    return fail(ErrorCode::invalid_argument,
                fmt::format("a pattern may have {} bytes at most", kPatternBytesMax));
  }
  const Preview preview(pattern);
  if (preview.has_back_reference())
    return fail(ErrorCode::invalid_argument, "back-references are not understood");
  if (preview.has_control_escape())  // the library would take the letter for itself
    return fail(ErrorCode::invalid_argument, "\\c is not understood: write \\x and two digits");
  if (preview.written_out() > kWrittenOutMax) {
    return fail(
        ErrorCode::invalid_argument,
        fmt::format("a pattern may have {} characters at most with its repetitions written out",
                    kWrittenOutMax));
  }
  return {};
}

// What `\s` stands for beyond ASCII, which is all that the library knows of it.
bool is_wide_space(wchar_t c) {
  return c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 ||
         c == 0x202F || c == 0x205F || c == 0x3000 || c == 0xFEFF;
}

class PatternTraits : public std::regex_traits<wchar_t> {
 public:
  [[nodiscard]] bool isctype(wchar_t c, char_class_type classes) const {
    return regex_traits::isctype(c, classes) ||
           (is_wide_space(c) && (classes & space_) != char_class_type{});
  }

 private:
  static char_class_type space_class() {
    static constexpr std::wstring_view kName = L"s";
    return regex_traits().lookup_classname(kName.begin(), kName.end());
  }

  char_class_type space_ = space_class();
};

using Regex = std::basic_regex<wchar_t, PatternTraits>;

struct OutOfTries {};

// A place in a text that counts down how often the matcher may look at the character there.
class CountedPlace {
 public:
  using iterator_category = std::bidirectional_iterator_tag;
  using value_type = wchar_t;
  using difference_type = std::ptrdiff_t;
  using pointer = const wchar_t*;
  using reference = const wchar_t&;

  CountedPlace() = default;
  CountedPlace(const wchar_t* at, std::uint64_t& left) : at_(at), left_(&left) {}

  reference operator*() const {
    if (*left_ == 0) throw OutOfTries();
    --*left_;
    return *at_;
  }
  CountedPlace& operator++() {
    ++at_;
    return *this;
  }
  CountedPlace& operator--() {
    --at_;
    return *this;
  }
  CountedPlace operator++(int) { return {at_++, *left_}; }
  CountedPlace operator--(int) { return {at_--, *left_}; }
  bool operator==(const CountedPlace& other) const { return at_ == other.at_; }

 private:
  const wchar_t* at_ = nullptr;
  std::uint64_t* left_ = nullptr;
};

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
  Regex regex;
};

TextPattern::TextPattern(std::string source, std::unique_ptr<const Compiled> compiled)
    : source_(std::move(source)), compiled_(std::move(compiled)) {}
TextPattern::~TextPattern() = default;
TextPattern::TextPattern(TextPattern&&) noexcept = default;
TextPattern& TextPattern::operator=(TextPattern&&) noexcept = default;

Result<TextPattern> TextPattern::compile(std::string_view pattern) {
  if (auto checked = look_over(pattern); !checked) return fail(std::move(checked));
  try {
    const std::wstring wide = widen(pattern);
    const Regex alone(wide, kLinear);  // so that "a)(b" is refused
    // A search would start anew at each place, in quadratic time. One match that may skip does not.
    return TextPattern(
        std::string(pattern),
        std::make_unique<const Compiled>(Compiled{Regex(L"[^]*?(?:" + wide + L")", kLinear)}));
  } catch (const std::regex_error& error) {
    return fail(ErrorCode::invalid_argument,
                fmt::format("not a regular expression: {}", error.what()));
  } catch (const std::bad_alloc&) {
    return fail(ErrorCode::invalid_argument, "the pattern is too large");
  }
}

bool TextPattern::takes(std::string_view text) { return count_utf8(text) <= kPatternTextMax; }

std::optional<bool> TextPattern::matches(std::string_view text, std::uint64_t& tries_left) const {
  if (!takes(text)) return std::nullopt;
  const std::wstring wide = widen(text);
  try {
    return std::regex_search(CountedPlace(wide.data(), tries_left),
                             CountedPlace(wide.data() + wide.size(), tries_left), compiled_->regex,
                             std::regex_constants::match_continuous);
  } catch (const OutOfTries&) {
    return std::nullopt;
  }
}

}  // namespace quern
