#include "queue/local/checkpointer.h"

#include <gtest/gtest.h>

#include <cstdint>

#include "queue/local/journal.h"
#include "queue/local/sqlite.h"
#include "testing/eventually.h"
#include "testing/temp_folder.h"

namespace quern {
namespace {

class CheckpointerTest : public testing::Test {
 protected:
  CheckpointerTest() : journal_(Journal::open({.file = file()}).value()) {}

  std::filesystem::path file() { return folder_.path() / "queue.sqlite"; }
  void insert(std::int64_t count) {
    for (std::int64_t i = 0; i < count; ++i) {
      TaskRow row;
      row.id = make_task_id(++last_, 0);
      journal_->begin();
      journal_->insert_task(row, std::string(500, 'x'));
      ASSERT_TRUE(journal_->commit());
    }
  }

  TempFolder folder_;
  std::unique_ptr<Journal> journal_;
  std::int64_t last_ = 0;
};

TEST_F(CheckpointerTest, CopiesTheLogWhileTheCommitThreadDoesNothing) {
  const auto checkpointer = Checkpointer::open(file(), *journal_, 10).value();
  checkpointer->start();
  insert(100);
  const auto before = std::filesystem::file_size(file());

  checkpointer->after_commits();  // only wakes the thread

  EXPECT_TRUE(eventually([&] { return std::filesystem::file_size(file()) > before; }));
}

TEST_F(CheckpointerTest, LetsTheLogBeginAnewOnceItIsCopied) {
  const auto checkpointer = Checkpointer::open(file(), *journal_, 10).value();
  checkpointer->start();
  insert(100);
  ASSERT_GT(journal_->log_pages(), 10U);

  const bool begun_anew = eventually([&] {
    checkpointer->after_commits();
    insert(1);
    return journal_->log_pages() < 10;
  });

  EXPECT_TRUE(begun_anew);
}

TEST(ConnectionCheckpoint, SaysThatItKnowsOfNoLogInsteadOfCopyingNothing) {
  const TempFolder folder;
  const auto file = folder.path() / "queue.sqlite";
  const auto journal = Journal::open({.file = file}).value();
  journal->begin();
  journal->write_probe();
  ASSERT_TRUE(journal->commit());
  Connection connection = Connection::open(file, Connection::Mode::read_write).value();

  const auto blind = connection.checkpoint();
  ASSERT_FALSE(blind);
  EXPECT_EQ(blind.error().code, ErrorCode::internal);

  ASSERT_TRUE(connection.query_integer("PRAGMA schema_version"));
  const auto pages = connection.checkpoint();
  ASSERT_TRUE(pages) << pages.error().message;
  EXPECT_GT(*pages, 0U);
}

}  // namespace
}  // namespace quern
