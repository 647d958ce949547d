#include "runner/input_files.h"

#include <gtest/gtest.h>

#include <array>
#include <filesystem>
#include <fstream>
#include <thread>

#include "testing/eventually.h"
#include "testing/path_server.h"
#include "testing/process_limit.h"
#include "testing/seeded_random.h"
#include "testing/temp_folder.h"

namespace quern {
namespace {

namespace fs = std::filesystem;

class InputFiles : public testing::Test {
 protected:
  InputFiles()
      : store_(*ArtifactStore::open(temp_.path() / "data", random_)),
        folders_(*store_->make_folders({.high = 1, .low = 1}, 1)) {
    options_.fetch.address_rule = &is_any_address;
  }

  Result<json::object> prepare(std::string_view input, std::stop_token stop = {}) {
    return prepare_input(parse_json(input)->get_object(), properties_, folders_, *store_, options_,
                         std::move(stop));
  }

  /// The prepared input, with "<folder>/" cut off each path.
  std::string prepared(std::string_view input) {
    const auto done = prepare(input);
    if (!done) return "(" + done.error().message + ")";
    std::string text = to_json(*done);
    const std::string folder = folders_.input.string() + "/";
    for (auto at = text.find(folder); at != std::string::npos; at = text.find(folder)) {
      text.erase(at, folder.size());
    }
    return text;
  }

  std::string refusal(std::string_view input, ErrorCode code = ErrorCode::invalid_argument) {
    const auto done = prepare(input);
    EXPECT_FALSE(done) << input;
    if (done) return "prepared";
    EXPECT_EQ(done.error().code, code);
    return done.error().message;
  }

  std::string read(const std::string& name) const {
    std::ifstream file(folders_.input / name, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }

  /// The path of the URL of a stored file.
  std::string upload(const std::string& name, const std::string& content) {
    auto started = store_->start_upload(name, 1000);
    EXPECT_TRUE((*started)->write(content));
    const Output output = *(*started)->finish();
    return "/files/" + output.file_key + "/" + output.file_name;
  }

  [[nodiscard]] std::size_t count_input_files() const {
    const fs::directory_iterator files(folders_.input);
    return static_cast<std::size_t>(std::distance(fs::begin(files), fs::end(files)));
  }

  TempFolder temp_;
  SeededRandom random_{1};
  std::unique_ptr<ArtifactStore> store_;
  AttemptFolders folders_;
  PathServer server_;
  std::vector<std::string> properties_{"image"};
  InputFileOptions options_;
};

TEST_F(InputFiles, NamesAPlaceInAnErrorByItsBeginning) {
  const std::string name = std::string(199, 'k') + "é" + std::string(9'000, 'k');

  const std::string message = refusal("{\"" + name + R"(":"data:;base64,!!!!"})");

  EXPECT_TRUE(message.starts_with(std::string(199, 'k') + "…: ")) << message;
  EXPECT_LT(message.size(), 400U);
}

TEST_F(InputFiles, LeavesOrdinaryValuesAsTheyAre) {
  constexpr const char* kInput =
      R"({"prompt":"data: a list, sorted","n":1,"x":null,"list":["https://example.com/a.png",true],)"
      R"("path":"/etc/passwd","page":"http://example.com/files/abc/a.png"})";
  EXPECT_EQ(prepared(kInput), kInput);
  EXPECT_EQ(count_input_files(), 0U);
}

TEST_F(InputFiles, PutsFilesInPlaceOfDataUrisAtAnyDepth) {
  EXPECT_EQ(prepared(R"({"a":"data:text/plain;base64,aGVsbG8=",)"
                     R"("b":{"c":[1,{"d":"data:application/json,%7B%22x%22:1%7D"}]}})"),
            R"({"a":"input-1.txt","b":{"c":[1,{"d":"input-2.json"}]}})");
  EXPECT_EQ(read("input-1.txt"), "hello");
  EXPECT_EQ(read("input-2.json"), R"({"x":1})");
}

TEST_F(InputFiles, NamesFilesByTheirContentAndNotByWhatTheCallerSays) {
  EXPECT_EQ(prepared(R"({"image":"data:image/png;base64,aGVsbG8="})"),
            R"({"image":"input-1.txt"})");
}

TEST_F(InputFiles, CopiesStoredFilesWhateverTheHostOfTheirUrl) {
  const std::string path = upload("my photo", "hello");
  std::string escaped = path;
  escaped.replace(escaped.find(' '), 1, "%20");

  EXPECT_EQ(prepared(R"({"image":"https://quern.example)" + escaped +
                     R"(","also":["http://127.0.0.1:1/prefix)" + escaped + R"(?x=1#y"]})"),
            R"({"image":"input-1.txt","also":["input-2.txt"]})");
  EXPECT_EQ(read("input-1.txt"), "hello");
  EXPECT_EQ(read("input-2.txt"), "hello");
}

TEST_F(InputFiles, WhatARunnerDoesToItsInputLeavesTheStoredFileAlone) {
  const std::string path = upload("a.txt", "hello");
  const auto input = prepare(R"({"image":"http://q)" + path + R"("})");
  ASSERT_TRUE(input);

  std::ofstream(input->at("image").as_string().c_str()) << "changed";

  prepared(R"({"image":"http://q)" + path + R"("})");
  EXPECT_EQ(fs::file_size(*store_->find_path(path.substr(7, 32), "a.txt")), 5U);
}

TEST_F(InputFiles, AWrongKeyIsNoStoredFile) {
  const std::string path = upload("a.txt", "hello");
  std::string wrong = path;
  wrong[10] = wrong[10] == '0' ? '1' : '0';
  const std::string text = R"({"page":"http://q)" + wrong + R"("})";
  EXPECT_EQ(prepared(text), text);

  options_.fetch.address_rule = &is_public_address;
  EXPECT_EQ(
      refusal(R"({"image":"http://127.0.0.1:1)" + wrong + R"("})"),
      "image: could not fetch: the address is not public; if it was a file of this server, it "
      "has expired");
}

TEST_F(InputFiles, RefusesAFileOfThisServerThatIsGone) {
  options_.own_url = "https://quern.example/prefix";
  const std::string path = upload("a.txt", "hello");
  const std::string own = "\"https://quern.example/prefix" + path + '"';
  EXPECT_EQ(prepared(R"({"x":[)" + own + "]}"), R"({"x":["input-1.txt"]})");
  store_->remove(std::array{Output{.file_key = path.substr(7, 32), .file_name = "a.txt"}});

  const std::string fault = "this file is not there any more: it has expired";
  EXPECT_EQ(refusal(R"({"image":)" + own + "}"), "image: " + fault);
  EXPECT_EQ(refusal(R"({"x":[)" + own + "]}"), "x[0]: " + fault);
  EXPECT_TRUE(server_.request_heads().empty());

  // Of another server that has files of this form, nobody knows here.
  for (const char* other : {"https://quern.example", "https://quern.example/prefix2", "http://q"}) {
    const std::string text = R"({"x":")" + (other + path) + R"("})";
    EXPECT_EQ(prepared(text), text);
  }
}

TEST_F(InputFiles, FetchesAFileOfAServerOfTheSameKind) {
  const std::string path = "/files/" + std::string(32, 'a') + "/a.txt";
  server_.answer(path, http_answer("200 OK", "theirs"));

  EXPECT_EQ(prepared(R"({"image":")" + server_.url(path) + R"("})"), R"({"image":"input-1.txt"})");
  EXPECT_EQ(read("input-1.txt"), "theirs");
}

TEST_F(InputFiles, FetchesUrlsInPropertiesForFilesOnly) {
  server_.answer("/a", http_answer("200 OK", "[1, 2]"));
  const std::string url = server_.url("/a");

  EXPECT_EQ(prepared(R"({"image":")" + url + R"(","page":")" + url + R"("})"),
            R"({"image":"input-1.json","page":")" + url + R"("})");
  EXPECT_EQ(read("input-1.json"), "[1, 2]");
  EXPECT_EQ(server_.request_heads().size(), 1U);
}

TEST_F(InputFiles, FetchesEachUrlOfAnArray) {
  server_.answer("/a", http_answer("200 OK", "a"));
  server_.answer("/b", http_answer("200 OK", "b"));
  EXPECT_EQ(prepared(R"({"image":[")" + server_.url("/a") + R"(","data:,c",")" + server_.url("/b") +
                     R"(",null]})"),
            R"({"image":["input-1.txt","input-2.txt","input-3.txt",null]})");
  EXPECT_EQ(read("input-1.txt") + read("input-2.txt") + read("input-3.txt"), "acb");
}

TEST_F(InputFiles, NeverLetsACallerNameAPathOfThisMachine) {
  const std::string expected =
      "expected an http or https URL, a data: URI or the URL of an uploaded file";
  for (const char* value : {"/etc/passwd", "file:///etc/passwd", "FILE:///etc/passwd",
                            "../../secret", "secret.png", "", "ftp://example.com/a", "data:x"}) {
    EXPECT_EQ(refusal(R"({"image":")" + std::string(value) + R"("})"), "image: " + expected);
    EXPECT_EQ(refusal(R"({"image":["data:,x",")" + std::string(value) + R"("]})"),
              "image[1]: " + expected);
    fs::remove(folders_.input / "input-1.txt");
  }
}

TEST_F(InputFiles, RefusesWhatIsNeitherStringNorArrayOfStringsInAPropertyForFiles) {
  const std::string expected =
      "expected an http or https URL, a data: URI or the URL of an uploaded file";
  for (const char* value :
       {R"({"a":"/etc/passwd"})", R"({"url":"data:,x"})", R"([["/etc/passwd"]])",
        R"([{"a":"/etc/passwd"}])", "[[]]", "{}", "7", "[true]"}) {
    const std::string place = *value == '[' ? "image[0]: " : "image: ";
    EXPECT_EQ(refusal(R"({"image":)" + std::string(value) + "}"), place + expected) << value;
  }
  EXPECT_EQ(count_input_files(), 0U);
}

TEST_F(InputFiles, LeavesWhatNamesNothingInAPropertyForFiles) {
  for (const char* input : {R"({"image":null})", R"({"image":[]})", R"({"image":[null]})"}) {
    EXPECT_EQ(prepared(input), input);
  }
}

TEST_F(InputFiles, NamesThePropertyAtFault) {
  EXPECT_EQ(refusal(R"({"image":")" + server_.url("/missing") + R"("})"),
            "image: could not fetch: HTTP 404 Not Found");
  EXPECT_EQ(refusal(R"({"a":{"b":[0,"data:text/plain;base64,!"]}})"),
            "a.b[1]: broken base64 at character 1 of the data");
  EXPECT_EQ(count_input_files(), 0U);
}

TEST_F(InputFiles, TellsPassingTroubleApart) {
  server_.answer("/busy", http_answer("503 x", ""));
  EXPECT_EQ(refusal(R"({"image":")" + server_.url("/busy") + R"("})", ErrorCode::unavailable),
            "image: could not fetch: HTTP 503 Service Unavailable");
}

TEST_F(InputFiles, TellsThatTheMachineIsShortOfDescriptors) {
  const std::string stored = R"({"image":"http://q)" + upload("a.txt", "hello") + R"("})";
  const auto with_descriptors = [&](std::size_t count, std::string_view input) {
    const DescriptorsLeft few(count);
    return prepare(input);
  };

  // None for the input file; for the stored file as it is looked for; for the stored file as it is copied.
  for (const auto& done : {with_descriptors(0, R"({"x":"data:,hello"})"),
                           with_descriptors(0, stored), with_descriptors(1, stored)}) {
    ASSERT_FALSE(done);
    EXPECT_EQ(done.error().code, ErrorCode::unavailable) << done.error().message;
    EXPECT_GT(done.error().retry_after.count(), 0) << done.error().message;
  }
  EXPECT_EQ(count_input_files(), 0U);
  const auto enough = with_descriptors(2, stored);
  EXPECT_TRUE(enough) << enough.error().message;
}

TEST_F(InputFiles, RefusesPrivateAddressesByDefault) {
  options_ = {};
  EXPECT_EQ(refusal(R"({"image":")" + server_.url("/") + R"("})"),
            "image: could not fetch: the address is not public");
  EXPECT_TRUE(server_.request_heads().empty());
}

TEST_F(InputFiles, HoldsEveryFileToTheLimit) {
  options_.file_bytes_max = 4;
  server_.answer("/a", http_answer("200 OK", "12345"));
  EXPECT_EQ(refusal(R"({"x":"data:,12345"})"), "x: data larger than 4 bytes");
  EXPECT_EQ(refusal(R"({"image":")" + server_.url("/a") + R"("})"),
            "image: could not fetch: the file is larger than 4 B");
  EXPECT_EQ(prepared(R"({"x":"data:,1234"})"), R"({"x":"input-1.txt"})");
}

TEST_F(InputFiles, HoldsTheNumberOfFilesToTheLimit) {
  options_.files_max = 2;
  EXPECT_EQ(refusal(R"({"x":["data:,1","data:,2","data:,3"]})"),
            "x[2]: more than 2 files in one input");
}

TEST_F(InputFiles, HoldsAllFilesOfAnInputTogetherToTheLimit) {
  const std::string stored = "http://q" + upload("a.txt", "hello");
  server_.answer("/a", http_answer("200 OK", "hello"));
  options_.input_bytes_max = 14;

  const std::string fault = ": more than 14 B of files in one input";
  EXPECT_EQ(prepared(R"({"x":["data:,hello","data:,hell"],"image":")" + stored + R"("})"),
            R"({"x":["input-1.txt","input-2.txt"],"image":"input-3.txt"})");
  for (const char* name : {"input-1.txt", "input-2.txt", "input-3.txt"}) {
    EXPECT_TRUE(fs::remove(folders_.input / name));
  }
  for (const std::string& last : {std::string("data:,hello"), stored, server_.url("/a")}) {
    EXPECT_EQ(refusal(R"({"x":[")" + stored + R"(","data:,hello"],"image":")" + last + R"("})"),
              "image" + fault)
        << last;
    EXPECT_EQ(count_input_files(), 2U) << last;
    for (const char* name : {"input-1.txt", "input-2.txt"}) {
      EXPECT_TRUE(fs::remove(folders_.input / name));
    }
  }
}

TEST_F(InputFiles, StopsWhenAskedTo) {
  server_.hang("/silent");
  std::stop_source stop;
  const std::jthread stopper([&] {
    server_.wait_for_request();
    stop.request_stop();
  });
  EXPECT_FALSE(prepare(R"({"image":")" + server_.url("/silent") + R"("})", stop.get_token()));
}

TEST_F(InputFiles, MakesNoFileOnceItIsToStop) {
  std::stop_source stop;
  stop.request_stop();
  const std::string stored = R"({"image":"http://q)" + upload("a.txt", "hello") + R"("})";

  for (const std::string& input : {std::string(R"({"x":"data:,hello"})"), stored}) {
    const auto done = prepare(input, stop.get_token());
    ASSERT_FALSE(done) << input;
    EXPECT_EQ(done.error().code, ErrorCode::unavailable);
    EXPECT_TRUE(done.error().message.ends_with(": stopped")) << done.error().message;
  }
  EXPECT_EQ(count_input_files(), 0U);
}

TEST_F(InputFiles, StopsBetweenTwoDataUris) {
  options_.files_max = 20'000;  // far more than are made until the stop comes
  std::string input = R"({"x":["data:,x")";
  for (std::size_t i = 1; i < options_.files_max; ++i) input += R"(,"data:,x")";
  input += "]}";
  std::stop_source stop;
  const std::jthread stopper([&] {
    EXPECT_TRUE(eventually([&] { return count_input_files() > 0; }));
    stop.request_stop();
  });

  const auto done = prepare(input, stop.get_token());

  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().code, ErrorCode::unavailable);
  EXPECT_LT(count_input_files(), options_.files_max);
}

}  // namespace
}  // namespace quern
