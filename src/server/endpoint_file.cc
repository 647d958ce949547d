#include "server/endpoint_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <fstream>
#include <iterator>
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
  std::string text{std::istreambuf_iterator<char>(stream), {}};
  if (!stream.is_open() || stream.bad()) {
    log_warn("the aliases that models had cannot be read", {{"file", file.string()}});
  }
  return text;
}

Result<void> write_whole(const std::filesystem::path& path, const std::string& text) {
  constexpr int kFlags = O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC;
  const FileDescriptor file(::open(path.c_str(), kFlags, 0600));
  if (!file.is_open()) return io_failure(errno, "making a file");
  if (Result<void> written = write_all(file.get(), text); !written) return written;
  return sync(file.get());
}

// The file is the old one or the new one, whatever happens.
Result<void> replace(const std::filesystem::path& file, const std::string& text) {
  std::filesystem::path fresh = file;
  fresh += ".new";
  if (Result<void> written = write_whole(fresh, text); !written) return written;
  if (std::rename(fresh.c_str(), file.c_str()) != 0) return io_failure(errno, "renaming a file");
  Result<FileDescriptor> folder = make_folder(file.parent_path());
  if (!folder) return fail(std::move(folder));
  return sync(folder->get());
}

}  // namespace

EndpointFile::EndpointFile(std::filesystem::path file)
    : file_(std::move(file)), history_(EndpointHistory::parse(read(file_))) {}

std::shared_ptr<const EndpointHistory> EndpointFile::take_in(const Catalog& catalog) {
  if (history_.add(catalog)) {
    if (const Result<void> kept = replace(file_, history_.to_text()); !kept) {
      log_warn(
          "the aliases of models could not be kept: once they change, URLs of tasks under the old "
          "ones are 404 after a restart",
          {{"file", file_.string()}, {"reason", kept.error().message}});
    }
  }
  return std::make_shared<const EndpointHistory>(history_);
}

}  // namespace quern
