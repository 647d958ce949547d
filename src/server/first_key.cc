#include "server/first_key.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>

#include <cstdint>
#include <fstream>
#include <system_error>

#include "artifact/file_descriptor.h"
#include "artifact/file_ops.h"

namespace quern {
namespace {

// Empty: there is none. An earlier version left an empty file when it was killed in its first start.
Result<std::string> read_secret(const std::filesystem::path& file) {
  std::error_code failed;
  const std::uintmax_t size = std::filesystem::file_size(file, failed);
  if (failed == std::errc::no_such_file_or_directory || (!failed && size == 0)) return "";
  std::string secret;
  std::ifstream stream(file);
  if (std::getline(stream, secret) && !secret.empty()) return secret;
  return fail(ErrorCode::unavailable, fmt::format("cannot read a secret in {}", file.string()));
}

}  // namespace

Result<std::string> open_secret(const std::filesystem::path& data, std::string_view name,
                                Random& random) {
  std::error_code failed;
  std::filesystem::create_directories(data, failed);
  if (failed)
    return fail(ErrorCode::unavailable,
                fmt::format("cannot make the folder {}: {}", data.string(), failed.message()));
  // Two first starts at once: the second reads what the first has made. The data folder's own lock is taken later.
  const FileDescriptor folder(::open(data.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (folder.is_open()) ::flock(folder.get(), LOCK_EX);
  const std::filesystem::path file = data / name;
  Result<std::string> secret = read_secret(file);
  if (!secret || !secret->empty()) return secret;
  *secret = make_secret(random);
  if (const Result<void> written = replace_file(file, *secret + "\n"); !written) {
    return fail(written.error().code,
                fmt::format("cannot write {}: {}", file.string(), written.error().message));
  }
  return secret;
}

Result<ApiKey> open_first_key(const std::filesystem::path& data, Random& random) {
  Result<std::string> secret = open_secret(data, "first-key", random);
  if (!secret) return fail(std::move(secret));
  Result<Digest> digest = parse_secret(*secret);
  if (!digest)
    return fail(ErrorCode::unavailable,
                fmt::format("{} holds no secret", (data / "first-key").string()));
  ApiKey key;
  key.id = "first";
  key.secrets = {*digest};
  key.admin = true;
  return key;
}

}  // namespace quern
