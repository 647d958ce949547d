#include "cli/table.h"

#include <gtest/gtest.h>

namespace quern {
namespace {

TEST(Table, MakesColumnsAsWideAsTheirWidestCell) {
  EXPECT_EQ(format_table({{"ID", "STATE"}, {"task-1", "queued"}, {"t", "ok"}}),
            "ID      STATE\ntask-1  queued\nt       ok\n");
}

TEST(Table, CountsCharactersAndNotBytes) {
  EXPECT_EQ(format_table({{"é", "x"}, {"ab", "y"}}), "é   x\nab  y\n");
}

TEST(Table, LetsNoTextMoveTheCursorOfATerminal) {
  EXPECT_EQ(format_table({{"a\x1b[2Jb\nc"}}), "a [2Jb c\n");
}

TEST(Table, LeavesNoControlOfEitherKindInALine) {
  EXPECT_EQ(one_line("a\x1b]0;b\a\n\x7f"), "a ]0;b   ");
  EXPECT_EQ(one_line("a\xc2\x80\xc2\x9b"
                     "31m\xc2\x9f"),
            "a  31m ");
  EXPECT_EQ(one_line("\xc2\xa0\xc3\x9b\xe2\x82\x9b\xc2"), "\xc2\xa0\xc3\x9b\xe2\x82\x9b\xc2");
}

TEST(Table, IsEmptyWithoutRows) { EXPECT_EQ(format_table({}), ""); }

}  // namespace
}  // namespace quern
