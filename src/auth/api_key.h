#pragma once
// Keys: who may call, what for, and how much. Immutable; a reload makes a new ring.

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/random.h"
#include "base/result.h"

namespace quern {

using Digest = std::array<std::uint8_t, 32>;  // SHA-256
Digest sha256(std::string_view bytes);
std::string to_hex(const Digest& digest);

struct ApiKey {
  std::string id;                        // the owner of tasks; secrets may change under it
  std::vector<Digest> secrets;           // any of them opens; several while rotating
  std::vector<std::string> models{"*"};  // globs over model ids: `*` and `?`
  double rate = 200;                     // requests per second
  double burst = 400;                    // requests
  std::uint32_t queued_max = 10'000;
  std::uint32_t running_max = 0;  // 0: no limit
  double weight = 1;
  bool admin = false;

  [[nodiscard]] bool may_use(std::string_view model) const;
};

/// `pattern` with `*` (any run, also empty) and `?` (one character), over the whole of `text`.
bool matches_glob(std::string_view pattern, std::string_view text);

/// Why a credential did not open.
enum class AuthFault : std::uint8_t { missing_or_malformed, unknown_key };

struct AuthAnswer {
  const ApiKey* key = nullptr;  // lives as long as the ring; null: `fault` says why
  AuthFault fault = AuthFault::missing_or_malformed;
};

/// Threads: any.
class KeyRing {
 public:
  /// Errors: invalid_argument (no or double id, the same secret under two keys, a rate, burst or
  /// weight that is no use).
  static Result<std::shared_ptr<const KeyRing>> make(std::vector<ApiKey> keys);

  /// `header`: the value of Authorization, `Key <secret>` or `Bearer <secret>`, scheme in any case;
  /// empty if there was none. Blanks around and several between are let pass; the secret itself is
  /// visible ASCII. It is compared whole, as a digest; the time that takes says nothing of any
  /// secret, and does not grow with the number of keys.
  [[nodiscard]] AuthAnswer authenticate(std::string_view header) const;
  [[nodiscard]] const ApiKey* find(std::string_view id) const;
  [[nodiscard]] const std::vector<ApiKey>& keys() const { return keys_; }

 private:
  struct Slot {
    Digest digest{};
    std::uint32_t key = kNoKey;
  };
  static constexpr std::uint32_t kNoKey = UINT32_MAX;

  Result<void> add(std::uint32_t key);
  [[nodiscard]] std::size_t slot_of(const Digest& digest) const;

  std::vector<ApiKey> keys_;
  std::unordered_map<std::string_view, const ApiKey*> by_id_;  // views into keys_
  std::vector<Slot> slots_;  // open addressing; a power of two, at most half full
  std::array<std::uint64_t, 2>
      hash_key_{};  // of this ring only: where a digest lies is not to be guessed
};

/// A fresh secret: "qk_" and 43 characters of base64url, 256 bits.
std::string make_secret(Random& random);
/// The form for configuration files: "sha256:<hex>".
std::string secret_digest_text(std::string_view secret);
/// "sha256:<64 hex digits>", or a plain secret (1–256 visible ASCII characters). Errors:
/// invalid_argument.
Result<Digest> parse_secret(std::string_view text);

}  // namespace quern
