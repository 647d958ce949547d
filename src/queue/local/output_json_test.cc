#include "queue/local/output_json.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace quern {
namespace {

TEST(OutputJson, RefusesWhatItDidNotMake) {
  for (const char* text : {"{", "{}", "[1]", "[{}"}) {
    const Result<std::vector<Output>> outputs = decode_outputs(text);
    ASSERT_FALSE(outputs) << text;
    EXPECT_EQ(outputs.error().code, ErrorCode::data_loss);
  }
  EXPECT_TRUE(decode_outputs("")->empty());
}

TEST(OutputJson, KeepsOddNumbersAndTexts) {
  Output output{.type = OutputType::audio, .file_name = "a\"b\\c\n.wav", .duration = 0.1};
  output.text = std::string("tab\tnul\0end", 11);

  const std::vector<Output> back = decode_outputs(encode_outputs({&output, 1})).value();

  EXPECT_EQ(back.at(0).file_name, output.file_name);
  EXPECT_EQ(back.at(0).duration, 0.1);
  EXPECT_EQ(back.at(0).text, output.text);
}

}  // namespace
}  // namespace quern
