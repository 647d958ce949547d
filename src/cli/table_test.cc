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

TEST(Table, IsEmptyWithoutRows) { EXPECT_EQ(format_table({}), ""); }

}  // namespace
}  // namespace quern
