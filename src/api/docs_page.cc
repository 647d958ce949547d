// GET /docs: one page to read the API and try a call. It asks for nothing outside of this server,
// and its policy allows its own script and style only, by their digests.

#include <fmt/format.h>

#include "api/call.h"
#include "api/docs_text.h"
#include "api/handlers.h"
#include "auth/api_key.h"

namespace quern::api {
namespace {

std::string base64(std::span<const std::uint8_t> bytes) {
  static constexpr std::string_view kDigits =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  std::uint32_t bits = 0;
  unsigned held = 0;
  for (const std::uint8_t byte : bytes) {
    bits = (bits << 8U) | byte;
    for (held += 8; held >= 6; held -= 6) text += kDigits[(bits >> (held - 6)) & 63U];
  }
  if (held > 0) text += kDigits[(bits << (6 - held)) & 63U];
  text.append((4 - text.size() % 4) % 4, '=');
  return text;
}

std::string policy() {
  return fmt::format(
      "default-src 'none'; script-src 'sha256-{}'; style-src 'sha256-{}'; connect-src 'self'; "
      "img-src 'self' data:; media-src 'self'; base-uri 'none'; form-action 'none'; "
      "frame-ancestors 'none'",
      base64(sha256(kDocsScript)), base64(sha256(kDocsStyle)));
}

std::string page() {
  std::string html =
      "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">"
      "<title>Quern API</title>"
      // Without one, a browser asks for /favicon.ico.
      "<link rel=\"icon\" href=\"data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' "
      "viewBox='0 0 16 16'%3E%3Ccircle cx='8' cy='8' r='5.5' fill='none' stroke='%230a6b4d' "
      "stroke-width='4'/%3E%3C/svg%3E\"><style>";
  html += kDocsStyle;
  html += "</style></head><body>";
  html += kDocsBody;
  html += "<script>";
  html += kDocsScript;
  html += "</script></body></html>\n";
  return html;
}

}  // namespace

void get_docs(CallPtr call) {
  static const std::string kPolicy = policy();
  static const std::string kPage = page();
  http::Response response = make_response(*call, 200, "text/html; charset=utf-8");
  response.add_header("Content-Security-Policy", kPolicy)
      .add_header("X-Content-Type-Options", "nosniff")
      .add_header("Referrer-Policy", "no-referrer");
  response.body = kPage;
  answer(std::move(call), std::move(response));
}

}  // namespace quern::api
