#include "json_pattern.h"

#include <cctype>
#include <regex>

namespace quern::protocol {
namespace {

bool is_name_char(char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_'; }

std::string_view take_name(std::string_view text) {
  std::size_t end = 0;
  while (end < text.size() && is_name_char(text[end])) ++end;
  return text.substr(0, end);
}

// "{70000*x}" -> 70,000 letters; the text is behind the dollar sign.
std::string repeat(std::string_view braced) {
  const std::size_t star = braced.find('*');
  const std::size_t count = std::stoul(std::string(braced.substr(1, star - 1)));
  std::string text;
  for (std::size_t i = 0; i < count; ++i) text += braced.substr(star + 1, braced.size() - star - 2);
  return text;
}

class Matcher {
 public:
  explicit Matcher(Captures& captures) : captures_(captures) {}

  std::string match(const json::value& pattern, const json::value& actual,
                    const std::string& where) {
    if (pattern.is_string()) return match_string(pattern.get_string(), actual, where);
    if (pattern.is_object() && actual.is_object())
      return match_object(pattern.get_object(), actual.get_object(), where);
    if (pattern.is_array() && actual.is_array())
      return match_array(pattern.get_array(), actual.get_array(), where);
    // Kinds count: 1024 is not 1024.0.
    return pattern == actual && pattern.kind() == actual.kind() ? ""
                                                                : differ(pattern, actual, where);
  }

 private:
  static std::string differ(const json::value& pattern, const json::value& actual,
                            const std::string& where) {
    return where + ": expected " + to_json(pattern) + ", got " + to_json(actual);
  }

  std::string match_string(std::string_view pattern, const json::value& actual,
                           const std::string& where) {
    static const std::regex kTime(R"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z)");
    const auto fits = [&](bool ok) {
      return ok ? "" : differ(json::value(pattern), actual, where);
    };
    if (pattern == "*") return "";
    if (pattern == "*string") return fits(actual.is_string());
    if (pattern == "*integer") return fits(actual.is_int64());
    if (pattern == "*number") return fits(actual.is_number());
    if (pattern == "*time")
      return fits(actual.is_string() && std::regex_match(std::string(actual.get_string()), kTime));
    if (!actual.is_string()) return differ(json::value(pattern), actual, where);
    const std::string_view text = actual.get_string();
    if (pattern.size() > 1 && pattern.starts_with('$') &&
        take_name(pattern.substr(1)).size() == pattern.size() - 1) {
      const auto [known, is_new] = captures_.try_emplace(std::string(pattern.substr(1)), text);
      return fits(is_new || known->second == text);
    }
    return fits(substitute(pattern, captures_) == text);
  }

  std::string match_object(const json::object& pattern, const json::object& actual,
                           const std::string& where) {
    for (const auto& member : pattern) {
      const std::string name(member.key());
      if (name == "...") continue;
      const json::value* value = actual.if_contains(name);
      if (member.value() == "!") {
        if (value != nullptr) return where + "." + name + ": expected to be absent";
        continue;
      }
      if (value == nullptr) return where + "." + name + ": missing";
      if (auto fault = match(member.value(), *value, where + "." + name); !fault.empty())
        return fault;
    }
    if (pattern.contains("...")) return "";
    for (const auto& member : actual) {
      if (!pattern.contains(member.key()))
        return where + "." + std::string(member.key()) + ": unexpected";
    }
    return "";
  }

  std::string match_array(const json::array& pattern, const json::array& actual,
                          const std::string& where) {
    const bool open = !pattern.empty() && pattern.back() == "...";
    const std::size_t fixed = pattern.size() - (open ? 1 : 0);
    if (actual.size() < fixed || (!open && actual.size() != fixed))
      return where + ": expected " + std::to_string(fixed) + " items, got " +
             std::to_string(actual.size());
    for (std::size_t i = 0; i < fixed; ++i) {
      if (auto fault = match(pattern[i], actual[i], where + "[" + std::to_string(i) + "]");
          !fault.empty())
        return fault;
    }
    return "";
  }

  Captures& captures_;
};

}  // namespace

std::string substitute(std::string_view text, const Captures& captures) {
  std::string out;
  while (!text.empty()) {
    const std::size_t dollar = std::min(text.find('$'), text.size());
    out += text.substr(0, dollar);
    text.remove_prefix(dollar);
    if (text.empty()) break;
    const std::string_view name = take_name(text.substr(1));
    if (text.starts_with("${")) {
      const std::size_t end = text.find('}');
      out += repeat(text.substr(1, end));
      text.remove_prefix(end + 1);
    } else if (const auto known = captures.find(name); known != captures.end()) {
      out += known->second;
      text.remove_prefix(1 + name.size());
    } else {
      out += '$';
      text.remove_prefix(1);
    }
  }
  return out;
}

std::string match_json(const json::value& pattern, const json::value& actual, Captures& captures) {
  Captures tried = captures;
  std::string fault = Matcher(tried).match(pattern, actual, "body");
  if (fault.empty()) captures = std::move(tried);
  return fault;
}

}  // namespace quern::protocol
