#pragma once
// The request headers that the API looks at, found in one pass.

#include <span>
#include <string_view>

#include "http/message.h"

namespace quern::api {

/// Views into the request; empty: absent. Of repeated headers the first counts.
struct RequestHeads {
  std::string_view authorization;
  std::string_view request_id;
  std::string_view host;
  std::string_view origin;
  std::string_view content_type;
  std::string_view content_disposition;
  std::string_view idempotency_key;
  bool has_idempotency_key = false;  // an empty one is refused, not ignored
  std::string_view range;
  std::string_view if_range;
  std::string_view if_match;
  std::string_view if_none_match;
  std::string_view if_modified_since;
  std::string_view if_unmodified_since;
  std::string_view forwarded_host;
  std::string_view forwarded_proto;
  std::string_view forwarded_port;
  std::string_view forwarded_prefix;
  std::string_view cors_headers;  // Access-Control-Request-Headers
  std::string_view fal_target_url;
  std::string_view fal_priority;
  std::string_view fal_start_timeout;
  std::string_view fal_timeout;  // the older name
  std::string_view fal_no_retry;
  bool has_webhook = false;  // any of the webhook headers, with a value
};

RequestHeads read_heads(std::span<const http::Header> headers);

}  // namespace quern::api
