#include "base/safe_file_name.h"

#include <gtest/gtest.h>

#include "base/utf8.h"
#include "testing/seeded_random.h"

namespace quern {
namespace {

TEST(SafeFileName, KeepsOrdinaryNames) {
  for (const char* name : {"image.png", "a b.png", "Grüße.txt", "猫.webp", "x.tar.gz", "a..b"}) {
    EXPECT_EQ(safe_file_name(name), name);
  }
}

TEST(SafeFileName, NeverLeavesItsFolder) {
  EXPECT_EQ(safe_file_name("../../etc/passwd"), "passwd");
  EXPECT_EQ(safe_file_name("/etc/passwd"), "passwd");
  EXPECT_EQ(safe_file_name("C:\\pictures\\cat.png"), "cat.png");
  EXPECT_EQ(safe_file_name("."), "_");
  EXPECT_EQ(safe_file_name(".."), "_.");
  EXPECT_EQ(safe_file_name(".htaccess"), "_htaccess");
  EXPECT_EQ(safe_file_name(""), "file");
  EXPECT_EQ(safe_file_name("a/"), "file");
  EXPECT_EQ(safe_file_name("   "), "file");
}

TEST(SafeFileName, ReplacesWhatMeansSomethingElsewhere) {
  EXPECT_EQ(safe_file_name("a\"b<c>d|e?f*g:h%i#j"), "a_b_c_d_e_f_g_h_i_j");
  EXPECT_EQ(safe_file_name(std::string_view("a\0b\r\nc\x7f", 7)), "a_b__c_");
  EXPECT_EQ(safe_file_name("a\xff\xc3.png"), "a__.png");
  EXPECT_EQ(safe_file_name("gnp.\xe2\x80\xae"
                           "exe"),
            "gnp._exe");  // right-to-left override
}

TEST(SafeFileName, ShortensBetweenCharactersAndKeepsTheExtension) {
  std::string long_name;
  for (int i = 0; i < 100; ++i) long_name += "ü";
  const std::string name = safe_file_name(long_name + ".png");

  EXPECT_LE(name.size(), 128U);
  EXPECT_GE(name.size(), 126U);
  EXPECT_TRUE(name.ends_with("ü.png"));
  EXPECT_EQ(find_invalid_utf8(name), std::string_view::npos);
}

TEST(SafeFileName, ChangesNoSafeNameSoThatServingCanRefuseAllOthers) {
  SeededRandom random(7);
  for (int round = 0; round < 20'000; ++round) {
    std::string name(random.next_u64() % 200, ' ');
    for (char& c : name) c = "ab./\\ .\xc3\xbc%\n\xe2\x80\xae"[random.next_u64() % 14];

    const std::string safe = safe_file_name(name);

    ASSERT_EQ(safe_file_name(safe), safe);
    ASSERT_FALSE(safe.empty());
    ASSERT_LE(safe.size(), 128U);
    ASSERT_EQ(safe.find('/'), std::string::npos);
    ASSERT_NE(safe.front(), '.');
  }
}

}  // namespace
}  // namespace quern
