#include "http/read_buffer.h"

#include <gtest/gtest.h>

#include <string>

namespace quern::http {
namespace {

TEST(ReadBuffer, KeepsItsContentWhenItMovesAndGrows) {
  ReadBuffer buffer;
  buffer.make_room(1, 8);
  EXPECT_EQ(buffer.capacity(), 8U);
  buffer.append("12345678");
  buffer.consume(5);

  buffer.make_room(5, 8);
  EXPECT_EQ(buffer.view(), "678");
  EXPECT_EQ(buffer.tail().size(), 5U);
  buffer.make_room(6, 8);
  EXPECT_EQ(buffer.view(), "678");
  EXPECT_EQ(buffer.capacity(), 16U);
}

TEST(ReadBuffer, LeavesConsumedBytesInPlace) {
  ReadBuffer buffer;
  buffer.make_room(16, 16);
  buffer.append("head body");
  const std::string_view head = buffer.view().substr(0, 4);

  buffer.consume(5);
  buffer.append("more");

  EXPECT_EQ(head, "head");
  EXPECT_EQ(buffer.view(), "bodymore");
}

TEST(ReadBuffer, GivesItsMemoryUp) {
  ReadBuffer buffer;
  buffer.make_room(100, 16);
  buffer.append("x");
  ReadBuffer taken = std::move(buffer);

  EXPECT_EQ(taken.view(), "x");
  taken.release();
  EXPECT_TRUE(taken.empty());
  EXPECT_EQ(taken.capacity(), 0U);
}

}  // namespace
}  // namespace quern::http
