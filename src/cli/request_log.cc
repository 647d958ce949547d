#include "cli/request_log.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <system_error>
#include <vector>

#include "base/clock.h"
#include "base/json.h"

namespace quern {
namespace fs = std::filesystem;

namespace {

fs::path state_folder() {
  if (const char* state = std::getenv("XDG_STATE_HOME"); state != nullptr && *state == '/')
    return fs::path(state) / "quern";
  if (const char* home = std::getenv("HOME"); home != nullptr && *home == '/')
    return fs::path(home) / ".local/state/quern";
  std::error_code failed;
  const fs::path temporary = fs::temp_directory_path(failed);  // TMPDIR may name what is not there
  return (failed ? fs::path("/tmp") : temporary) / ("quern-" + std::to_string(::getuid()));
}

std::vector<std::string> read_lines(const fs::path& file) {
  std::ifstream stream(file);
  std::vector<std::string> lines;
  for (std::string line; std::getline(stream, line);) lines.push_back(std::move(line));
  return lines;
}

// Keeps the newer half. Losing the race against another process costs old lines only.
void shorten(const fs::path& file) {
  const std::vector<std::string> lines = read_lines(file);
  const fs::path fresh = file.string() + ".new";
  {
    std::ofstream stream(fresh, std::ios::trunc);
    for (std::size_t i = lines.size() / 2; i < lines.size(); ++i) stream << lines[i] << '\n';
  }
  std::error_code ignored;
  fs::rename(fresh, file, ignored);
}

}  // namespace

RequestLog::RequestLog() : file_(state_folder() / "requests.jsonl") {}

Result<void> RequestLog::remember(const TaskHandle& task, std::string_view url) {
  std::error_code failed;
  fs::create_directories(file_.parent_path(), failed);
  if (fs::file_size(file_, failed) > kRequestLogBytesMax && !failed) shorten(file_);
  const json::object entry{{"request_id", task.request_id},
                           {"model", task.model},
                           {"url", url},
                           {"created", format_rfc3339(SystemClock().now().wall)}};
  const std::string line = to_json(entry) + "\n";
  const int fd = ::open(file_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  if (fd < 0) return fail(ErrorCode::unavailable, "cannot write " + file_.string());
  const bool written = ::write(fd, line.data(), line.size()) == static_cast<ssize_t>(line.size()) &&
                       ::fsync(fd) == 0;
  ::close(fd);
  if (!written) return fail(ErrorCode::unavailable, "cannot write " + file_.string());
  return {};
}

std::optional<TaskHandle> RequestLog::find(std::string_view request_id,
                                           std::string_view of_model) const {
  const std::vector<std::string> lines = read_lines(file_);
  for (auto line = lines.rbegin(); line != lines.rend(); ++line) {
    const Result<json::value> entry = parse_json(*line);
    if (!entry || !entry->is_object()) continue;
    const json::value* id = entry->get_object().if_contains("request_id");
    const json::value* model = entry->get_object().if_contains("model");
    if (id == nullptr || model == nullptr || !id->is_string() || !model->is_string()) continue;
    if (!of_model.empty() && std::string_view(model->get_string()) != of_model) continue;
    if (request_id != kLastRequest && std::string_view(id->get_string()) != request_id) continue;
    return TaskHandle{std::string(model->get_string()), std::string(id->get_string()), 0};
  }
  return std::nullopt;
}

}  // namespace quern
