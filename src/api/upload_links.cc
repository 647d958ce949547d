#include "api/upload_links.h"

#include <fmt/format.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <array>
#include <charconv>

#include "base/assert.h"

namespace quern::api {
namespace {

constexpr std::size_t kNameBytes = 16;  // twice as many hex digits
constexpr std::size_t kMacHexDigits = 32;
constexpr std::size_t kEndHexDigits = 11;  // seconds since 1970
constexpr std::size_t kTokenBytes = 2 * kNameBytes + kEndHexDigits + kMacHexDigits;

std::int64_t to_seconds(WallTime time) {
  return std::chrono::floor<std::chrono::seconds>(time).time_since_epoch().count();
}

}  // namespace

UploadLinks::UploadLinks(std::string secret, Random& random)
    : secret_(secret.empty() ? random_hex(random, 32) : std::move(secret)) {}

std::string UploadLinks::mac(std::string_view purpose, std::string_view text) const {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned bytes = 0;
  const std::string message = fmt::format("{}:{}", purpose, text);
  const auto* data = reinterpret_cast<const unsigned char*>(message.data());
  QUERN_ASSERT(::HMAC(EVP_sha256(), secret_.data(), static_cast<int>(secret_.size()), data,
                      message.size(), digest.data(), &bytes) != nullptr);
  std::string hex;
  for (std::size_t i = 0; i < kMacHexDigits / 2; ++i) hex += fmt::format("{:02x}", digest[i]);
  return hex;
}

std::string UploadLinks::make_token(Random& random, WallTime expires) const {
  std::string token = random_hex(random, kNameBytes);
  token += fmt::format("{:011x}", to_seconds(expires));
  return token + mac("link", token);
}

std::optional<std::string_view> UploadLinks::open(std::string_view token, WallTime now) const {
  if (token.size() != kTokenBytes) return std::nullopt;
  const std::string_view signed_part = token.substr(0, kTokenBytes - kMacHexDigits);
  const std::string expected = mac("link", signed_part);
  if (::CRYPTO_memcmp(expected.data(), token.data() + signed_part.size(), kMacHexDigits) != 0)
    return std::nullopt;
  std::int64_t end = 0;
  const char* digits = token.data() + 2 * kNameBytes;
  std::from_chars(digits, digits + kEndHexDigits, end, 16);
  if (to_seconds(now) >= end) return std::nullopt;
  return token.substr(0, 2 * kNameBytes);
}

std::string UploadLinks::file_key(std::string_view name, std::uint32_t part) const {
  return mac("file", fmt::format("{}/{}", name, part));
}

}  // namespace quern::api
