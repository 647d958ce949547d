#pragma once
// A server, and its command line as a person types it.

#include <sys/wait.h>

#include <cstdio>
#include <string>

#include "base/json.h"
#include "tests/system/system_fixture.h"

namespace quern {

struct Said {
  int code = -1;
  std::string text;  // both streams
};

class CliTest : public SystemTest {
 protected:
  [[nodiscard]] Said quern(const std::string& words, const char* secret = kSecret) const {
    const std::string line = "QUERN_URL=" + server_->url() + " QUERN_KEY=" + secret +
                             " XDG_STATE_HOME=" + folder_.path().string() + " " + QUERN_BINARY +
                             " " + words + " 2>&1";
    FILE* pipe = ::popen(line.c_str(), "r");
    Said said;
    char buffer[4096];
    for (std::size_t got = 0; (got = std::fread(buffer, 1, sizeof(buffer), pipe)) > 0;)
      said.text.append(buffer, got);
    const int status = ::pclose(pipe);
    said.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128;
    return said;
  }

  [[nodiscard]] json::object quern_json(const std::string& words) const {
    const Said said = quern(words + " --json");
    EXPECT_EQ(said.code, 0) << said.text;
    const auto parsed = parse_json(said.text);
    EXPECT_TRUE(parsed) << said.text;
    return parsed && parsed->is_object() ? parsed->get_object() : json::object{};
  }
};

}  // namespace quern
