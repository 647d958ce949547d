#pragma once
// A redo log in a folder of its own, whose files a test looks into and changes between two opens.

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "queue/local/redo_log.h"
#include "testing/temp_folder.h"

namespace quern {

inline constexpr std::size_t kRedoHeaderBytes = 24;

inline std::string file_bytes(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

inline void write_file(const std::filesystem::path& file, const std::string& bytes) {
  std::ofstream(file, std::ios::binary | std::ios::trunc) << bytes;
}

class RedoLogTest : public testing::Test {
 protected:
  [[nodiscard]] std::filesystem::path a() const { return folder_.path() / "redo-a"; }
  [[nodiscard]] std::filesystem::path b() const { return folder_.path() / "redo-b"; }
  RedoLog& log() { return *log_; }

  /// As after a restart: what has been replayed is in `replayed_`.
  Result<void> reopen(std::uint64_t after = 0) {
    log_.reset();
    log_ =
        RedoLog::open({.folder = folder_.path(), .seed = seed_, .file_bytes = file_bytes_}).value();
    replayed_.clear();
    return log_->replay(after, [this](std::uint64_t number, std::string_view content) {
      EXPECT_TRUE(replayed_.empty() || number == replayed_.rbegin()->first + 1);
      replayed_.emplace(number, content);
      return Result<void>();
    });
  }
  void open(std::uint64_t after = 0) {
    const Result<void> done = reopen(after);
    ASSERT_TRUE(done) << done.error().message;
  }
  std::uint64_t append(std::string_view content) {
    const Result<std::uint64_t> number = log().append(content);
    EXPECT_TRUE(number) << number.error().message;
    return number.value_or(0);
  }
  /// Of 124 bytes with their header: a file of 300 is full with the third.
  std::uint64_t append_some() { return append(std::string(100, 's')); }
  void expect_lacks(std::uint64_t after, const std::string& message) {
    const Result<void> done = reopen(after);
    ASSERT_FALSE(done);
    EXPECT_EQ(done.error().code, ErrorCode::data_loss);
    EXPECT_EQ(done.error().message, "the redo log lacks records: " + message);
  }

  TempFolder folder_;
  std::uint64_t seed_ = 0;
  std::size_t file_bytes_ = 300;
  std::unique_ptr<RedoLog> log_;
  std::map<std::uint64_t, std::string> replayed_;
};

}  // namespace quern
