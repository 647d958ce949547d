// Any bytes, in chunks of any size: the splitter keeps its bounds and the decoder its promises.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "base/assert.h"
#include "base/utf8.h"
#include "runner/runner_lines.h"

namespace {

void check_message(const std::optional<quern::RunnerMessage>& message) {
  if (!message) return;
  if (message->progress) QUERN_ASSERT(*message->progress >= 0 && *message->progress <= 1);
  if (message->error) {
    QUERN_ASSERT(message->error->type != quern::ErrorType::none);
    QUERN_ASSERT(message->error->type != quern::ErrorType::canceled);
    QUERN_ASSERT(message->error->text.size() <= quern::kErrorTextBytesMax);
    QUERN_ASSERT(quern::find_invalid_utf8(message->error->text) == std::string_view::npos);
  }
  if (message->output && message->output->has_value()) {
    const quern::RunnerOutput& output = message->output->value();
    QUERN_ASSERT(output.text.has_value() == output.path.empty());
    QUERN_ASSERT(!output.text || output.type == quern::OutputType::text);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  const std::size_t step = data[0] + 1U;
  const std::size_t text_bytes_max = data[1] + 1U;
  std::string_view bytes(reinterpret_cast<const char*>(data) + 2, size - 2);
  quern::LineSplitter splitter(text_bytes_max);
  const auto each = [&](std::string_view line, bool cut) {
    QUERN_ASSERT(quern::begins_as_message(line) || line.size() <= text_bytes_max);
    QUERN_ASSERT(line.find('\n') == std::string_view::npos);
    check_message(cut ? quern::decode_broken_line(line, "cut") : quern::decode_runner_line(line));
  };
  for (; !bytes.empty(); bytes.remove_prefix(std::min(step, bytes.size()))) {
    splitter.feed(bytes.substr(0, step), each);
  }
  splitter.finish(each);
  return 0;
}
