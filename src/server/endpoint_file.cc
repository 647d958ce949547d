#include "server/endpoint_file.h"

#include <array>
#include <fstream>
#include <string>
#include <system_error>
#include <utility>

#include "artifact/file_ops.h"
#include "base/log.h"

namespace quern {
namespace {

std::string read(const std::filesystem::path& file) {
  std::error_code failed;
  if (!std::filesystem::exists(file, failed)) return {};
  std::ifstream stream(file, std::ios::binary);
  std::string text;
  std::array<char, 4096> piece{};
  // Of a file that opens and cannot be read, read() tells by the stream's state; iterators would throw.
  while (stream.read(piece.data(), piece.size()), stream.gcount() > 0) {
    text.append(piece.data(), static_cast<std::size_t>(stream.gcount()));
  }
  if (stream.is_open() && !stream.bad()) return text;
  log_warn("the aliases that models had cannot be read", {{"file", file.string()}});
  return {};
}

}  // namespace

EndpointFile::EndpointFile(std::filesystem::path file)
    : file_(std::move(file)), history_(EndpointHistory::parse(read(file_))) {}

std::shared_ptr<const EndpointHistory> EndpointFile::take_in(const Catalog& catalog) {
  if (history_.add(catalog)) {
    if (const Result<void> kept = replace_file(file_, history_.to_text()); !kept) {
      log_warn(
          "the aliases of models could not be kept: once they change, URLs of tasks under the old "
          "ones are 404 after a restart",
          {{"file", file_.string()}, {"reason", kept.error().message}});
    }
  }
  return std::make_shared<const EndpointHistory>(history_);
}

}  // namespace quern
