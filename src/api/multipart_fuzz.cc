// Any bytes in any pieces: the same file comes out as from one piece, or the same refusal.

#include <cstddef>
#include <cstdint>
#include <string>

#include "api/multipart.h"
#include "base/assert.h"

namespace {

struct Outcome {
  std::string file;
  bool ok = true;
  bool complete = false;

  friend bool operator==(const Outcome&, const Outcome&) = default;
};

Outcome read(std::string_view body, std::size_t piece) {
  using quern::Result;
  Outcome outcome;
  quern::api::MultipartReader reader("B", "file",
                                     {[](std::string) { return Result<void>(); },
                                      [&](std::string_view bytes) {
                                        outcome.file += bytes;
                                        return Result<void>();
                                      }});
  while (!body.empty() && outcome.ok) {
    outcome.ok = reader.feed(body.substr(0, piece)).has_value();
    body.remove_prefix(std::min(piece, body.size()));
  }
  outcome.complete = reader.is_complete();
  return outcome;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 1 || size > 4096) return 0;
  const std::string_view body(reinterpret_cast<const char*>(data) + 1, size - 1);
  const Outcome whole = read(body, body.size() + 1);
  const Outcome pieces = read(body, std::size_t{data[0]} % 7 + 1);
  QUERN_ASSERT(whole.complete == pieces.complete);
  if (whole.complete) QUERN_ASSERT(whole == pieces);
  (void)quern::api::multipart_boundary(body);
  (void)quern::api::header_parameter(body, "filename");
  (void)quern::api::disposition_file_name(body);
  return 0;
}
