#include "queue/local/log_reserve.h"

#include <sqlite3.h>

#include <algorithm>
#include <array>

namespace quern {
namespace {

// https://www.sqlite.org/fileformat2.html#the_write_ahead_log
constexpr std::int64_t kLogHeaderBytes = 32;
constexpr std::int64_t kFrameHeaderBytes = 24;

sqlite3_file* log_file(sqlite3* connection) {
  sqlite3_file* file = nullptr;
  const int code = sqlite3_file_control(connection, "main", SQLITE_FCNTL_JOURNAL_POINTER, &file);
  return code == SQLITE_OK && file != nullptr && file->pMethods != nullptr ? file : nullptr;
}

/// All or nothing.
bool append_zeros(sqlite3_file* file, std::int64_t from, std::int64_t to) {
  static constexpr std::array<char, 64 * 1024> kZeros{};
  for (std::int64_t at = from; at < to; at += std::ssize(kZeros)) {
    const auto bytes = static_cast<int>(std::min<std::int64_t>(std::ssize(kZeros), to - at));
    if (file->pMethods->xWrite(file, kZeros.data(), bytes, at) == SQLITE_OK) continue;
    file->pMethods->xTruncate(file, from);
    return false;
  }
  return true;
}

}  // namespace

void LogReserve::after_commit(sqlite3* connection, std::size_t pages, std::size_t page_bytes) {
  const std::int64_t frame_bytes = static_cast<std::int64_t>(page_bytes) + kFrameHeaderBytes;
  const std::int64_t used = kLogHeaderBytes + static_cast<std::int64_t>(pages) * frame_bytes;
  if (used <= enough_until_) return;

  const std::int64_t step = std::clamp(used, kReserveStepMin, kReserveStepMax);
  enough_until_ = used + step / 2;
  sqlite3_file* const file = log_file(connection);
  sqlite3_int64 size = 0;
  if (file == nullptr || file->pMethods->xFileSize(file, &size) != SQLITE_OK) return;
  if (size < used + step && append_zeros(file, size, used + step)) size = used + step;
  enough_until_ = std::max<std::int64_t>(enough_until_, size - step / 2);
}

}  // namespace quern
