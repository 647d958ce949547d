#include "base/units.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

namespace quern {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;

TEST(Units, ReadSizes) {
  EXPECT_EQ(parse_bytes("0").value(), 0U);
  EXPECT_EQ(parse_bytes("512").value(), 512U);
  EXPECT_EQ(parse_bytes("512B").value(), 512U);
  EXPECT_EQ(parse_bytes("10KiB").value(), 10'240U);
  EXPECT_EQ(parse_bytes("10 MiB").value(), 10'485'760U);
  EXPECT_EQ(parse_bytes("2GiB").value(), 2'147'483'648U);
  EXPECT_EQ(parse_bytes("1TiB").value(), 1'099'511'627'776U);
  EXPECT_EQ(parse_bytes("10MB").value(), 10'000'000U);
  EXPECT_EQ(parse_bytes("3kB").value(), 3'000U);
  EXPECT_EQ(parse_bytes("18446744073709551615").value(), UINT64_MAX);
}

TEST(Units, RefuseWhatIsNoSize) {
  for (const std::string_view text :
       {"", " ", "MiB", "-1", "+1", "1.5MiB", "10mib", "10M", "10  MiB", " 10", "10 ", "10MiBs",
        "1e3", "0x10", "18446744073709551616", "99999999TiB", "10MiB 1"}) {
    EXPECT_FALSE(parse_bytes(text).has_value()) << text;
  }
  EXPECT_THAT(parse_bytes("10M").error().message, HasSubstr("\"10M\" is not a size: expected"));
}

TEST(Units, ReadDurations) {
  EXPECT_EQ(parse_duration("250ms").value(), 250ms);
  EXPECT_EQ(parse_duration("60s").value(), 60s);
  EXPECT_EQ(parse_duration("5m").value(), 5min);
  EXPECT_EQ(parse_duration("24h").value(), 24h);
  EXPECT_EQ(parse_duration("7d").value(), 168h);
  EXPECT_EQ(parse_duration("0s").value(), 0ms);
  EXPECT_EQ(parse_duration("1m 30s").value(), 90s);
  EXPECT_EQ(parse_duration("1h5ms").value(), 1h + 5ms);
}

TEST(Units, RefuseWhatIsNoDuration) {
  for (const std::string_view text :
       {"", "0", "10", "s", "-1s", "1.5s", "10S", "10 s", "30s 1m", "1s 1s", "1s ", "1s,", "1y",
        "99999d99999d", "18446744073709551615d", "40000d"}) {
    EXPECT_FALSE(parse_duration(text).has_value()) << text;
  }
  EXPECT_THAT(parse_duration("10").error().message,
              HasSubstr("expected a whole number and a unit"));
}

TEST(Units, ReadRates) {
  EXPECT_DOUBLE_EQ(parse_rate("200/s").value(), 200);
  EXPECT_DOUBLE_EQ(parse_rate("30/m").value(), 0.5);
  EXPECT_DOUBLE_EQ(parse_rate("1000/h").value(), 1000.0 / 3600);
  EXPECT_DOUBLE_EQ(parse_rate("0.5/s").value(), 0.5);
}

TEST(Units, RefuseWhatIsNoRate) {
  for (const std::string_view text : {"", "200", "/s", "0/s", "-1/s", "nan/s", "inf/s", "200/d",
                                      "200 /s", "200/s ", "1e400/s", "0x1p3/s"}) {
    EXPECT_FALSE(parse_rate(text).has_value()) << text;
  }
}

TEST(Units, WriteSizesInTheUnitThatFits) {
  EXPECT_EQ(format_bytes(0), "0 B");
  EXPECT_EQ(format_bytes(1023), "1023 B");
  EXPECT_EQ(format_bytes(1024), "1 KiB");
  EXPECT_EQ(format_bytes(1'572'864), "1.5 MiB");
  EXPECT_EQ(format_bytes(1'048'575), "1 MiB");  // not "1024 KiB"
  EXPECT_EQ(format_bytes(UINT64_MAX), "16 EiB");
}

TEST(Units, WriteDurations) {
  EXPECT_EQ(format_duration(0ms), "0ms");
  EXPECT_EQ(format_duration(250ms), "250ms");
  EXPECT_EQ(format_duration(90s), "1m 30s");
  EXPECT_EQ(format_duration(24h), "1d");
  EXPECT_EQ(format_duration(-1500ms), "-1s 500ms");
}

TEST(Units, WriteDurationsThatReadBackTheSame) {
  std::mt19937_64 random(1);
  for (int i = 0; i < 2'000; ++i) {
    const std::chrono::milliseconds value(random() >> (24 + random() % 40));
    EXPECT_EQ(parse_duration(format_duration(value)).value(), value);
  }
}

}  // namespace
}  // namespace quern
