#include "api/cors.h"

#include <algorithm>
#include <array>

#include "base/ascii.h"

namespace quern::api {
namespace {

constexpr std::string_view kExposed =
    "Access-Control-Expose-Headers: "
    "x-request-id, x-fal-request-id, x-fal-error-type, x-fal-request-timeout-type, retry-after\r\n";
constexpr std::string_view kAllowedHeaders =
    "authorization, content-type, accept, x-request-id, idempotency-key";
constexpr std::size_t kAskedHeadersMax = 32;

// Of fal's clients, and of the apps behind them.
bool is_fal_header(std::string_view name) {
  static constexpr std::array<std::string_view, 2> kPrefixes = {"x-fal-", "x-app-fal-"};
  return std::ranges::any_of(kPrefixes, [&](std::string_view prefix) {
    return name.size() > prefix.size() &&
           equals_ignoring_case(name.substr(0, prefix.size()), prefix);
  });
}

bool is_token(std::string_view name) {
  return !name.empty() && std::ranges::all_of(name, [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' ||
           c == '_';
  });
}

std::string_view trim(std::string_view text) {
  while (text.starts_with(' ') || text.starts_with('\t')) text.remove_prefix(1);
  while (text.ends_with(' ') || text.ends_with('\t')) text.remove_suffix(1);
  return text;
}

// Of the headers a page asks for, those of fal's clients.
void append_fal_headers(std::string& head, std::string_view asked) {
  for (std::size_t n = 0; !asked.empty() && n < kAskedHeadersMax; ++n) {
    const std::size_t comma = std::min(asked.find(','), asked.size());
    const std::string_view name = trim(asked.substr(0, comma));
    asked.remove_prefix(std::min(comma + 1, asked.size()));
    if (!is_fal_header(name) || !is_token(name)) continue;
    head += ", ";
    head += name;
  }
}

}  // namespace

Cors::Cors(std::vector<std::string> origins) : origins_(std::move(origins)) {
  any_ = std::ranges::find(origins_, "*") != origins_.end();
}

bool Cors::allows(std::string_view origin) const {
  return any_ || std::ranges::find(origins_, origin) != origins_.end();
}

void Cors::add_to(std::string& head, std::string_view origin) const {
  if (origins_.empty()) return;
  if (!any_) head += "Vary: Origin\r\n";  // also for others: caches must tell them apart
  if (origin.empty() || !allows(origin)) return;
  head += "Access-Control-Allow-Origin: ";
  head += any_ ? "*" : origin;
  head += "\r\n";
  head += kExposed;
}

void Cors::add_preflight_to(std::string& head, const RequestHeads& heads) const {
  if (heads.origin.empty() || origins_.empty() || !allows(heads.origin)) return;
  head += "Access-Control-Allow-Methods: GET, POST, PUT\r\nAccess-Control-Allow-Headers: ";
  head += kAllowedHeaders;
  append_fal_headers(head, heads.cors_headers);
  head += "\r\nAccess-Control-Max-Age: 600\r\n";
}

}  // namespace quern::api
