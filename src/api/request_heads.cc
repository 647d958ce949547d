#include "api/request_heads.h"

#include <algorithm>
#include <array>

#include "base/ascii.h"

namespace quern::api {
namespace {

using Member = std::string_view RequestHeads::*;

struct Known {
  std::string_view name;  // lower case
  Member member;          // null: a webhook header
};

// Sorted by length, so that a header is compared with the few names of its own length only.
constexpr std::array kKnown = {
    Known{"host", &RequestHeads::host},
    Known{"range", &RequestHeads::range},
    Known{"origin", &RequestHeads::origin},
    Known{"if-range", &RequestHeads::if_range},
    Known{"if-match", &RequestHeads::if_match},
    Known{"x-webhook", nullptr},
    Known{"webhook-url", nullptr},
    Known{"x-request-id", &RequestHeads::request_id},
    Known{"content-type", &RequestHeads::content_type},
    Known{"callback-url", nullptr},
    Known{"authorization", &RequestHeads::authorization},
    Known{"if-none-match", &RequestHeads::if_none_match},
    Known{"x-webhook-url", nullptr},
    Known{"x-fal-webhook", nullptr},
    Known{"x-fal-no-retry", &RequestHeads::fal_no_retry},
    Known{"x-callback-url", nullptr},
    Known{"idempotency-key", &RequestHeads::idempotency_key},
    Known{"x-forwarded-host", &RequestHeads::forwarded_host},
    Known{"x-forwarded-port", &RequestHeads::forwarded_port},
    Known{"x-fal-target-url", &RequestHeads::fal_target_url},
    Known{"x-forwarded-proto", &RequestHeads::forwarded_proto},
    Known{"if-modified-since", &RequestHeads::if_modified_since},
    Known{"x-fal-webhook-url", nullptr},
    Known{"x-forwarded-prefix", &RequestHeads::forwarded_prefix},
    Known{"content-disposition", &RequestHeads::content_disposition},
    Known{"if-unmodified-since", &RequestHeads::if_unmodified_since},
    Known{"x-fal-queue-priority", &RequestHeads::fal_priority},
    Known{"x-fal-request-timeout", &RequestHeads::fal_timeout},
    Known{"x-fal-request-start-timeout", &RequestHeads::fal_start_timeout},
    Known{"access-control-request-headers", &RequestHeads::cors_headers},
};
static_assert(std::ranges::is_sorted(kKnown, {}, [](const Known& k) { return k.name.size(); }));

constexpr std::size_t kNameBytesMax = kKnown.back().name.size();

// kFirst[n] is the first known name of at least n characters.
constexpr auto kFirst = [] {
  std::array<std::uint8_t, kNameBytesMax + 2> first{};
  for (std::size_t n = 0; n < first.size(); ++n) {
    std::size_t i = 0;
    while (i < kKnown.size() && kKnown[i].name.size() < n) ++i;
    first[n] = static_cast<std::uint8_t>(i);
  }
  return first;
}();

void take(RequestHeads& heads, const Known& known, std::string_view value) {
  if (known.member == nullptr) {
    heads.has_webhook = heads.has_webhook || !value.empty();
    return;
  }
  if (known.member == &RequestHeads::idempotency_key) {
    if (heads.has_idempotency_key) return;
    heads.has_idempotency_key = true;
  }
  if (std::string_view& slot = heads.*known.member; slot.empty()) slot = value;
}

}  // namespace

RequestHeads read_heads(std::span<const http::Header> headers) {
  RequestHeads heads;
  for (const http::Header& header : headers) {
    const std::size_t bytes = header.name.size();
    if (bytes > kNameBytesMax) continue;
    for (std::size_t i = kFirst[bytes]; i < kFirst[bytes + 1]; ++i) {
      if (!equals_ignoring_case(header.name, kKnown[i].name)) continue;
      take(heads, kKnown[i], header.value);
      break;
    }
  }
  return heads;
}

}  // namespace quern::api
