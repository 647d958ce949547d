#pragma once
// How much of a log is content: its files are kept longer, by zeros and old bytes.

#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

namespace quern {

/// Of SQLite's write-ahead log: up to the end of the last frame that holds something, in bytes. The
/// log must hold one.
inline std::uintmax_t log_content_bytes(const std::filesystem::path& log) {
  constexpr std::uintmax_t kHeaderBytes = 32;
  constexpr std::uintmax_t kFrameBytes = 24 + 4096;
  std::ifstream in(log, std::ios::binary);
  const std::string bytes{std::istreambuf_iterator<char>(in), {}};
  const std::uintmax_t last = bytes.find_last_not_of('\0');
  return kHeaderBytes + ((last - kHeaderBytes) / kFrameBytes + 1) * kFrameBytes;
}

/// Where a record of the redo log stands in its file, with its header.
struct RedoRecordAt {
  std::uint64_t number = 0;
  std::uintmax_t at = 0;
  std::uintmax_t bytes = 0;

  [[nodiscard]] std::uintmax_t end() const { return at + bytes; }
};

/// The records of a file of the redo log (redo_log.h), in their order, by their headers alone: their
/// checksums are not looked at.
inline std::vector<RedoRecordAt> redo_records(const std::filesystem::path& file) {
  struct Header {
    std::uint32_t magic = 0;
    std::uint32_t length = 0;
    std::uint64_t number = 0;
    std::uint64_t checksum = 0;
  };
  constexpr std::uint32_t kMagic = 0x4f444552;
  std::ifstream in(file, std::ios::binary);
  const std::string bytes{std::istreambuf_iterator<char>(in), {}};
  std::vector<RedoRecordAt> records;
  for (std::uintmax_t at = 0; at + sizeof(Header) <= bytes.size();) {
    Header header;
    std::memcpy(&header, bytes.data() + at, sizeof(Header));
    const RedoRecordAt record{header.number, at, sizeof(Header) + header.length};
    const bool goes_on = records.empty() || header.number == records.back().number + 1;
    if (header.magic != kMagic || !goes_on || record.end() > bytes.size()) break;
    records.push_back(record);
    at = record.end();
  }
  return records;
}

/// Of a file of the redo log: up to the end of its last record, in bytes; 0: it has none.
inline std::uintmax_t redo_content_bytes(const std::filesystem::path& file) {
  const std::vector<RedoRecordAt> records = redo_records(file);
  return records.empty() ? 0 : records.back().end();
}

}  // namespace quern
