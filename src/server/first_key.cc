#include "server/first_key.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <fstream>
#include <system_error>

namespace quern {
namespace {

Result<void> write_secret(const std::filesystem::path& file, const std::string& secret) {
  const int fd = ::open(file.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (fd < 0) return fail(ErrorCode::unavailable, fmt::format("cannot write {}", file.string()));
  const std::string line = secret + "\n";
  const bool written = ::write(fd, line.data(), line.size()) == static_cast<ssize_t>(line.size()) &&
                       ::fsync(fd) == 0;
  ::close(fd);
  if (written) return {};
  ::unlink(file.c_str());  // an empty one would stand in the way of every later start
  return fail(ErrorCode::unavailable, fmt::format("cannot write {}", file.string()));
}

}  // namespace

Result<std::string> open_secret(const std::filesystem::path& data, std::string_view name,
                                Random& random) {
  std::error_code failed;
  std::filesystem::create_directories(data, failed);
  if (failed)
    return fail(ErrorCode::unavailable,
                fmt::format("cannot make the folder {}: {}", data.string(), failed.message()));
  const std::filesystem::path file = data / name;
  std::string secret;
  std::ifstream stream(file);
  if (std::getline(stream, secret)) return secret;
  secret = make_secret(random);
  Result<void> written = write_secret(file, secret);
  if (!written) return fail(std::move(written));
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
