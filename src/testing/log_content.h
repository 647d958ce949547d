#pragma once
// How much of SQLite's write-ahead log is content: the file is kept longer, by zeros.

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

namespace quern {

/// Up to the end of the last frame that holds something, in bytes. The log must hold one.
inline std::uintmax_t log_content_bytes(const std::filesystem::path& log) {
  constexpr std::uintmax_t kHeaderBytes = 32;
  constexpr std::uintmax_t kFrameBytes = 24 + 4096;
  std::ifstream in(log, std::ios::binary);
  const std::string bytes{std::istreambuf_iterator<char>(in), {}};
  const std::uintmax_t last = bytes.find_last_not_of('\0');
  return kHeaderBytes + ((last - kHeaderBytes) / kFrameBytes + 1) * kFrameBytes;
}

}  // namespace quern
