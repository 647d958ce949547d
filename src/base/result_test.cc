#include "base/result.h"

#include <gtest/gtest.h>

#include <memory>

namespace quern {
namespace {

Result<int> half(int value) {
  if (value % 2 != 0) return fail(ErrorCode::invalid_argument, "odd");
  return value / 2;
}

Result<std::string> half_as_text(int value) {
  auto halved = half(value);
  if (!halved) return fail(std::move(halved));
  return std::to_string(*halved);
}

TEST(Result, HoldsAValueOrAnError) {
  EXPECT_EQ(half(8).value(), 4);

  const auto failed = half(7);
  ASSERT_FALSE(failed.has_value());
  EXPECT_EQ(failed.error().code, ErrorCode::invalid_argument);
  EXPECT_EQ(failed.error().message, "odd");
  EXPECT_EQ(failed.error().retry_after, std::chrono::milliseconds{0});
}

TEST(Result, HandsAnErrorOnAsThatOfAnotherType) {
  EXPECT_EQ(half_as_text(8).value(), "4");

  const auto failed = half_as_text(7);
  ASSERT_FALSE(failed.has_value());
  EXPECT_EQ(failed.error().message, "odd");
}

TEST(Result, OfVoidSucceedsWithoutAValue) {
  const auto check = [](bool works) -> Result<void> {
    if (!works) return fail(ErrorCode::rate_limited, "slow down", std::chrono::seconds{2});
    return {};
  };

  EXPECT_TRUE(check(true).has_value());
  EXPECT_EQ(check(false).error().retry_after, std::chrono::milliseconds{2000});
}

TEST(Result, CarriesWhatCanOnlyBeMoved) {
  const auto make = []() -> Result<std::unique_ptr<int>> { return std::make_unique<int>(5); };

  auto made = make();

  ASSERT_TRUE(made.has_value());
  const std::unique_ptr<int> taken = std::move(*made);
  EXPECT_EQ(*taken, 5);
}

}  // namespace
}  // namespace quern
