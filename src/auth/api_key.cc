// For SHA256_Init and its siblings.
#define OPENSSL_SUPPRESS_DEPRECATED

#include "auth/api_key.h"

#include <fmt/format.h>
#include <openssl/crypto.h>
#include <openssl/sha.h>

#include <algorithm>
#include <bit>
#include <cmath>

#include "base/ascii.h"
#include "base/assert.h"
#include "base/sip_hash.h"

namespace quern {
namespace {

constexpr std::string_view kDigestPrefix = "sha256:";
constexpr std::size_t kSecretBytesMax = 256;  // of a plain secret in a configuration file

bool is_blank(char c) { return c == ' ' || c == '\t'; }

std::string_view trim(std::string_view text) {
  while (!text.empty() && is_blank(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_blank(text.back())) text.remove_suffix(1);
  return text;
}

bool is_visible_ascii(std::string_view text) {
  return std::ranges::all_of(text, [](char c) { return c > ' ' && c < '\x7F'; });
}

// The secret of an Authorization value; empty if that is malformed.
std::string_view secret_of(std::string_view header) {
  header = trim(header);
  const std::size_t scheme_size = header.find_first_of(" \t");
  if (scheme_size == std::string_view::npos) return {};
  const std::string_view scheme = header.substr(0, scheme_size);
  if (!equals_ignoring_case(scheme, "key") && !equals_ignoring_case(scheme, "bearer")) return {};
  const std::string_view secret = trim(header.substr(scheme_size));
  return is_visible_ascii(secret) ? secret : std::string_view{};
}

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

Result<Digest> parse_digest(std::string_view hex) {
  Digest digest{};
  if (hex.size() != 2 * digest.size() ||
      std::ranges::any_of(hex, [](char c) { return hex_digit(c) < 0; })) {
    return fail(ErrorCode::invalid_argument,
                "a secret \"sha256:…\" needs 64 hex digits after the colon");
  }
  for (std::size_t i = 0; i < digest.size(); ++i) {
    digest[i] = static_cast<std::uint8_t>(hex_digit(hex[2 * i]) * 16 + hex_digit(hex[2 * i + 1]));
  }
  return digest;
}

Result<void> check_limits(const ApiKey& key) {
  const auto is_positive = [](double value) { return std::isfinite(value) && value > 0; };
  if (!is_positive(key.rate)) {
    return fail(ErrorCode::invalid_argument,
                fmt::format("key \"{}\": the rate must be above 0", key.id));
  }
  if (!is_positive(key.burst) || key.burst < 1) {
    return fail(ErrorCode::invalid_argument,
                fmt::format("key \"{}\": the burst must be at least 1", key.id));
  }
  if (!is_positive(key.weight)) {
    return fail(ErrorCode::invalid_argument,
                fmt::format("key \"{}\": the weight must be above 0", key.id));
  }
  return {};
}

}  // namespace

// Every call hashes a secret. OpenSSL's digest of its own, without the layer that chooses one by
// name, takes a third of the time.
Digest sha256(std::string_view bytes) {
  SHA256_CTX context;
  Digest digest{};
  const bool done = SHA256_Init(&context) == 1 &&
                    SHA256_Update(&context, bytes.data(), bytes.size()) == 1 &&
                    SHA256_Final(digest.data(), &context) == 1;
  QUERN_ASSERT(done);
  return digest;
}

std::string to_hex(const Digest& digest) {
  std::string text;
  text.reserve(2 * digest.size());
  for (const std::uint8_t byte : digest) {
    text += "0123456789abcdef"[byte >> 4U];
    text += "0123456789abcdef"[byte & 15U];
  }
  return text;
}

bool ApiKey::may_use(std::string_view model) const {
  return std::ranges::any_of(models,
                             [&](const std::string& glob) { return matches_glob(glob, model); });
}

// When the text no longer fits, only the last `*` needs to take one character more: what an earlier
// one could change, the last can as well. So the cost is at most pattern times text, and in
// practice their sum.
bool matches_glob(std::string_view pattern, std::string_view text) {
  constexpr std::size_t kNone = std::string_view::npos;
  std::size_t p = 0;
  std::size_t t = 0;
  std::size_t star = kNone;       // the place of the last `*` seen
  std::size_t star_text = kNone;  // where the text after its run begins
  while (t < text.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      star_text = t;
    } else if (p < pattern.size() && (pattern[p] == '?' || pattern[p] == text[t])) {
      ++p;
      ++t;
    } else if (star != kNone) {
      p = star + 1;
      t = ++star_text;
    } else {
      return false;
    }
  }
  return pattern.find_first_not_of('*', p) == kNone;
}

Result<std::shared_ptr<const KeyRing>> KeyRing::make(std::vector<ApiKey> keys) {
  const std::shared_ptr<KeyRing> ring(new KeyRing);
  SystemRandom random;
  for (std::uint64_t& word : ring->hash_key_) word = random.next_u64();

  std::size_t secrets = 0;
  for (const ApiKey& key : keys) secrets += key.secrets.size();
  ring->slots_.resize(std::bit_ceil(2 * secrets + 1));
  ring->keys_ = std::move(keys);
  for (std::uint32_t i = 0; i < ring->keys_.size(); ++i) {
    if (auto added = ring->add(i); !added) return fail(std::move(added));
  }
  return ring;
}

Result<void> KeyRing::add(std::uint32_t index) {
  const ApiKey& key = keys_[index];
  if (key.id.empty()) return fail(ErrorCode::invalid_argument, "a key has no id");
  if (!by_id_.emplace(key.id, &key).second) {
    return fail(ErrorCode::invalid_argument, fmt::format("two keys have the id \"{}\"", key.id));
  }
  for (const Digest& digest : key.secrets) {
    Slot& slot = slots_[slot_of(digest)];
    if (slot.key != kNoKey && slot.key != index) {
      return fail(ErrorCode::invalid_argument,
                  fmt::format("the keys \"{}\" and \"{}\" have the same secret", keys_[slot.key].id,
                              key.id));
    }
    slot = {.digest = digest, .key = index};
  }
  return check_limits(key);
}

// The slot that holds the digest, else the free one where it belongs.
std::size_t KeyRing::slot_of(const Digest& digest) const {
  const std::size_t mask = slots_.size() - 1;
  std::size_t at = sip_hash(hash_key_, digest) & mask;
  while (slots_[at].key != kNoKey &&
         CRYPTO_memcmp(slots_[at].digest.data(), digest.data(), digest.size()) != 0) {
    at = (at + 1) & mask;
  }
  return at;
}

AuthAnswer KeyRing::authenticate(std::string_view header) const {
  const std::string_view secret = secret_of(header);
  if (secret.empty()) return {.key = nullptr, .fault = AuthFault::missing_or_malformed};
  const Slot& slot = slots_[slot_of(sha256(secret))];
  if (slot.key == kNoKey) return {.key = nullptr, .fault = AuthFault::unknown_key};
  return {.key = &keys_[slot.key], .fault = {}};
}

const ApiKey* KeyRing::find(std::string_view id) const {
  const auto found = by_id_.find(id);
  return found == by_id_.end() ? nullptr : found->second;
}

std::string make_secret(Random& random) {
  static constexpr std::string_view kDigits =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  std::array<std::byte, 33> bytes{};  // a last zero byte, so that it divides by three
  random.fill(std::span(bytes).first(32));
  std::string secret = "qk_";
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    unsigned group = 0;
    for (std::size_t j = 0; j < 3; ++j)
      group = (group << 8U) | std::to_integer<unsigned>(bytes[i + j]);
    for (const unsigned shift : {18U, 12U, 6U, 0U}) secret += kDigits[(group >> shift) & 63U];
  }
  secret.pop_back();  // it stood for the added byte
  return secret;
}

std::string secret_digest_text(std::string_view secret) {
  return std::string(kDigestPrefix) + to_hex(sha256(secret));
}

Result<Digest> parse_secret(std::string_view text) {
  if (text.starts_with(kDigestPrefix)) return parse_digest(text.substr(kDigestPrefix.size()));
  if (text.empty() || text.size() > kSecretBytesMax || !is_visible_ascii(text)) {
    return fail(
        ErrorCode::invalid_argument,
        fmt::format(
            "a secret must be 1 to {} visible ASCII characters or \"sha256:<64 hex digits>\"",
            kSecretBytesMax));
  }
  return sha256(text);
}

}  // namespace quern
