// Runs each transcript of this folder as a test of its own, against a real server.

#include "transcript.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <deque>
#include <thread>

#include "base/json.h"
#include "json_pattern.h"
#include "test_config.h"
#include "testing/temp_folder.h"
#include "testing/test_server.h"
#include "wire.h"

namespace quern::protocol {
namespace {

constexpr std::chrono::seconds kRepeatMax{30};
constexpr std::chrono::milliseconds kRepeatPause{10};

// A conversation under way.
class Conversation {
 public:
  Conversation(TestServer& server, std::filesystem::path folder)
      : server_(server), folder_(std::move(folder)) {
    captures_["base"] = server.url();
    captures_["host"] = server.url().substr(std::string_view("http://").size());
  }

  /// Empty, or what went wrong.
  std::string run(const Step& step, const Step* next) {
    switch (step.kind) {
      case Step::Kind::key:
        key_ = step.word;
        return "";
      case Step::Kind::act:
        return act(step.word);
      case Step::Kind::request:
        return ask(step.request, next);
      case Step::Kind::expectation:
        return check(step.expectation);
    }
    return "";
  }

 private:
  std::string act(const std::string& command) {
    if (command == "drain") {
      server_.signal(SIGTERM);
      return "";
    }
    if (command.starts_with("open ")) return open_gate(folder_ / "gated" / command.substr(5));
    return "no such act: " + command;
  }

  // A pipe can be opened for writing once its reader is there.
  static std::string open_gate(const std::filesystem::path& gate) {
    const auto deadline = std::chrono::steady_clock::now() + kRepeatMax;
    while (std::chrono::steady_clock::now() < deadline) {
      const int fd = ::open(gate.c_str(), O_WRONLY | O_NONBLOCK | O_CLOEXEC);
      if (fd >= 0) {
        const bool sent = ::write(fd, "go\n", 3) == 3;
        ::close(fd);
        return sent ? "" : "nobody took the word";
      }
      std::this_thread::sleep_for(kRepeatPause);
    }
    return "nobody came to the gate";
  }

  std::string bytes_of(const Request& request) const {
    if (request.mode == Request::Mode::raw) return substitute(request.body, captures_);
    const std::string body = substitute(request.body, captures_);
    std::string target = substitute(request.target, captures_);
    if (target.starts_with(server_.url())) target.erase(0, server_.url().size());
    std::string head = request.method + " " + target + " HTTP/1.1\r\n";
    bool has_host = false;
    bool has_key = false;
    bool has_length = false;
    for (const auto& [name, value] : request.headers) {
      has_host |= name == "Host";
      has_key |= name == "Authorization";
      has_length |= name == "Content-Length" || name == "Transfer-Encoding";
      head += name + ": " + substitute(value, captures_) + "\r\n";
    }
    if (!has_host) head += "Host: " + captures_.at("host") + "\r\n";
    if (!has_key && key_ != "nobody") head += "Authorization: Key " + kSecrets.at(key_) + "\r\n";
    if (!has_length && (!body.empty() || request.method == "POST" || request.method == "PUT"))
      head += "Content-Length: " + std::to_string(body.size()) + "\r\n";
    return head + "Connection: close\r\n\r\n" + body;
  }

  std::string ask(const Request& request, const Step* next) {
    head_only_ = request.method == "HEAD";
    if (request.mode == Request::Mode::answer_later) {
      Wire& wire = later_.emplace_back(server_.port());
      wire.send(bytes_of(request));
      // What comes next is to find the request there: it may change what that one is about.
      wire.wait_until_read();
      return "";
    }
    if (request.mode != Request::Mode::until_it_fits) {
      answer_ = talk(request);
      return answer_ ? "" : "no answer";
    }
    if (next == nullptr || next->kind != Step::Kind::expectation) return "repeat until what?";
    const auto deadline = std::chrono::steady_clock::now() + kRepeatMax;
    for (;;) {
      answer_ = talk(request);
      if (answer_ && compare(next->expectation).empty()) return "";
      if (std::chrono::steady_clock::now() > deadline)
        return "";  // the expectation says what is wrong
      std::this_thread::sleep_for(kRepeatPause);
    }
  }

  std::optional<Answer> talk(const Request& request) {
    Wire wire(server_.port());
    wire.send(bytes_of(request));
    return wire.read_answer(head_only_);
  }

  std::string check(const Expectation& expected) {
    if (expected.of_earlier) {
      if (later_.empty()) return "nothing was left to be answered";
      answer_ = later_.front().read_answer(false);
      later_.pop_front();
    }
    return answer_ ? compare(expected) : "no answer";
  }

  std::string compare(const Expectation& expected) {
    const std::string got = "\n  got " + std::to_string(answer_->status) + " " + answer_->reason +
                            " " + answer_->body.substr(0, 2000);
    if (answer_->status != expected.status)
      return "expected status " + std::to_string(expected.status) + got;
    if (answer_->reason.empty()) return "the reason phrase is empty";
    if (!expected.reason.empty() && answer_->reason != expected.reason)
      return "expected the reason \"" + expected.reason + "\"" + got;
    Captures tried = captures_;
    std::string fault = compare_body(expected, tried);
    if (fault.empty()) fault = compare_headers(expected, tried);
    if (!fault.empty()) return fault + got;
    captures_ = std::move(tried);
    return "";
  }

  std::string compare_body(const Expectation& expected, Captures& captures) const {
    if (expected.has_exact && answer_->body != substitute(expected.exact, captures))
      return "expected the bytes " + substitute(expected.exact, captures);
    for (const std::string& text : expected.texts) {
      if (answer_->body.find(substitute(text, captures)) == std::string::npos)
        return "expected the body to hold " + substitute(text, captures);
    }
    if (expected.json.empty()) return "";
    if (answer_->find_header("Content-Type") != "application/json")
      return "expected the content type application/json";
    const auto pattern = parse_json(expected.json);
    if (!pattern) return "the pattern is no JSON: " + pattern.error().message;
    const auto actual = parse_json(answer_->body);
    if (!actual) return "the body is no JSON: " + actual.error().message;
    return match_json(*pattern, *actual, captures);
  }

  std::string compare_headers(const Expectation& expected, Captures& captures) const {
    for (const auto& [name, value] : expected.headers) {
      const auto actual = answer_->find_header(name);
      if (value == "!") {
        if (actual) return "expected no header " + name + ", got " + *actual;
        continue;
      }
      if (!actual) return "the header " + name + " is missing";
      auto fault = match_json(json::value(value), json::value(*actual), captures);
      if (!fault.empty()) return "header " + name + ": " + fault;
    }
    return "";
  }

  TestServer& server_;
  const std::filesystem::path folder_;
  std::string key_ = "alice";
  Captures captures_;
  std::optional<Answer> answer_;
  bool head_only_ = false;
  std::deque<Wire> later_;
};

class Transcript : public ::testing::Test {
 public:
  explicit Transcript(std::filesystem::path file) : file_(std::move(file)) {}

  void TestBody() override {
    const TempFolder folder;
    write_models(folder.path());
    TestServer server(QUERN_BINARY, folder.path(), kConfig, kServerKeys);
    ASSERT_TRUE(server.start()) << server.log();
    const std::vector<Step> steps = read_transcript(file_);
    Conversation conversation(server, folder.path());
    for (std::size_t i = 0; i < steps.size(); ++i) {
      const Step* next = i + 1 < steps.size() ? &steps[i + 1] : nullptr;
      const std::string fault = conversation.run(steps[i], next);
      ASSERT_EQ(fault, "") << "  at " << file_.string() << ":" << steps[i].line << "\n"
                           << server.log().substr(0, 4000);
    }
  }

 private:
  const std::filesystem::path file_;
};

void register_transcripts() {
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(QUERN_TRANSCRIPTS)) {
    if (entry.path().extension() == ".http") files.push_back(entry.path());
  }
  std::ranges::sort(files);
  for (const std::filesystem::path& file : files) {
    ::testing::RegisterTest("Transcript", file.stem().c_str(), nullptr, nullptr, __FILE__, __LINE__,
                            [file]() -> ::testing::Test* { return new Transcript(file); });
  }
}

}  // namespace
}  // namespace quern::protocol

int main(int argc, char** argv) {
  ::testing::InitGoogleTest(&argc, argv);
  quern::protocol::register_transcripts();
  return RUN_ALL_TESTS();
}
