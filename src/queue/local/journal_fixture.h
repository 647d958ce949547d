#pragma once
// A journal in a folder of its own, and rows for it.

#include <gtest/gtest.h>

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "queue/local/journal.h"
#include "queue/local/journal_reader.h"
#include "testing/temp_folder.h"

namespace quern {

constexpr WallTime at(std::int64_t microseconds) {
  return WallTime{std::chrono::microseconds{microseconds}};
}

inline TaskId make_id(std::int64_t sequence) { return make_task_id(sequence, 0x0123'4567'89ab'cdefLL); }

inline TaskRow make_row(std::int64_t sequence) {
  TaskRow row;
  row.id = make_id(sequence);
  row.rank = 0.1 + static_cast<double>(sequence);
  row.submitted = at(1'000 + sequence);
  return row;
}

class JournalTest : public testing::Test {
 protected:
  JournalTest() { open(); }

  void open() {
    journal_.reset();
    Result<std::unique_ptr<Journal>> opened = Journal::open({.file = file()});
    ASSERT_TRUE(opened) << opened.error().message;
    journal_ = *std::move(opened);
  }
  std::filesystem::path file() { return folder_.path() / "queue.sqlite"; }
  Journal& journal() { return *journal_; }
  template <typename Writes>
  void write(Writes writes) {
    journal().begin();
    writes();
    const Result<void> done = journal().commit();
    ASSERT_TRUE(done) << done.error().message;
  }
  std::vector<std::pair<TaskRow, std::optional<WallTime>>> live() {
    std::vector<std::pair<TaskRow, std::optional<WallTime>>> rows;
    const Result<void> done =
        journal().for_each_live([&](const TaskRow& row, std::optional<WallTime> started) {
          rows.emplace_back(row, started);
        });
    EXPECT_TRUE(done);
    return rows;
  }
  std::unique_ptr<JournalReader> reader() { return JournalReader::open(file()).value(); }

  TempFolder folder_;
  std::unique_ptr<Journal> journal_;
};

}  // namespace quern
