// Answers and bodies that do not fit memory: files, sinks, event streams.

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <condition_variable>
#include <fstream>
#include <future>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>

#include "http/connection.h"
#include "http/raw_client.h"
#include "testing/temp_folder.h"

namespace quern::http {
namespace {

using std::chrono::milliseconds;

constexpr std::string_view kGet = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
constexpr std::uint64_t kBodyMax = 8 << 20;

std::string make_bytes(std::size_t bytes) {
  std::string text(bytes, '\0');
  std::uint32_t state = 1;
  for (char& c : text) c = static_cast<char>((state = state * 1'664'525 + 1'013'904'223) >> 24);
  return text;
}

/// A file of known bytes, and a handler that answers with a part of it.
class FileAnswers : public testing::Test {
 protected:
  FileAnswers() { std::ofstream(path_, std::ios::binary) << bytes_; }

  void answer(Exchange exchange, std::uint64_t offset, std::uint64_t bytes) const {
    Response response;
    response.file = FileBody{
        .fd = ::open(path_.c_str(), O_RDONLY | O_CLOEXEC), .offset = offset, .bytes = bytes};
    std::move(exchange).send(std::move(response));
  }
  Handler whole() const {
    return [this](Exchange exchange) { answer(std::move(exchange), 0, bytes_.size()); };
  }

  TempFolder folder_;
  std::filesystem::path path_ = folder_.path() / "file";
  std::string bytes_ = make_bytes(5'000'000);
};

TEST_F(FileAnswers, AreSentWhole) {
  TestServer server(whole());
  RawClient client = server.connect();

  for (int i = 0; i < 2; ++i) {
    const RawAnswer answer = client.ask(kGet);
    EXPECT_EQ(answer.status, 200U);
    EXPECT_EQ(answer.header("Content-Length"), "5000000");
    EXPECT_TRUE(answer.body == bytes_);
  }
}

TEST_F(FileAnswers, AreSentInPart) {
  TestServer server([&](Exchange exchange) { answer(std::move(exchange), 1'234'567, 100'000); });

  EXPECT_TRUE(server.connect().ask(kGet).body == bytes_.substr(1'234'567, 100'000));
}

TEST_F(FileAnswers, KeepTheirPlaceAmongPipelinedRequests) {
  TestServer server([&](Exchange exchange) {
    if (exchange.request().path == "/file") return answer(std::move(exchange), 0, 10'000);
    std::move(exchange).send(text_response("text"));
  });
  RawClient client = server.connect();
  const std::string text = "GET /text HTTP/1.1\r\nHost: h\r\n\r\n";
  const std::string file = "GET /file HTTP/1.1\r\nHost: h\r\n\r\n";
  client.send(text + file + file + text);

  EXPECT_EQ(client.read_answer().body, "text");
  EXPECT_TRUE(client.read_answer().body == bytes_.substr(0, 10'000));
  EXPECT_TRUE(client.read_answer().body == bytes_.substr(0, 10'000));
  EXPECT_EQ(client.read_answer().body, "text");
}

TEST_F(FileAnswers, AreNotReadForAHead) {
  TestServer server(whole());
  RawClient client = server.connect();
  client.send("HEAD / HTTP/1.1\r\nHost: h\r\n\r\n");

  EXPECT_EQ(client.read_answer(true).header("Content-Length"), "5000000");
  EXPECT_TRUE(client.ask(kGet).body == bytes_);
}

TEST_F(FileAnswers, WaitForAPeerThatReadsSlowly) {
  TestServer server(whole());
  RawClient slow = server.connect(4096);
  slow.send(kGet);
  RawClient fast = server.connect();

  const std::string start = slow.read_bytes(10'000);  // the rest waits in the file, not in memory
  EXPECT_TRUE(fast.ask(kGet).body == bytes_);

  const std::string all =
      start + slow.read_bytes(bytes_.size() + 2 + start.find("\r\n\r\n") + 2 - start.size());
  EXPECT_TRUE(all.ends_with(bytes_.substr(bytes_.size() - 100'000)));
}

TEST_F(FileAnswers, BreakOffWhenTheFileBecameShorter) {
  TestServer server([&](Exchange exchange) { answer(std::move(exchange), 4'900'000, 200'000); });
  RawClient client = server.connect();
  client.send(kGet);

  EXPECT_THAT(client.read_until("\r\n\r\n"), testing::HasSubstr("Content-Length: 200000\r\n"));
  EXPECT_EQ(client.read_to_end().size(), 100'000U);
}

TEST_F(FileAnswers, CloseTheirFileWhenThePeerLeaves) {
  TestServer server(whole());
  RawClient client = server.connect(4096);
  client.send(kGet);
  client.read_bytes(1'000);
  client.reset();

  EXPECT_TRUE(eventually([&] { return server->connections() == 0; }));
  // Every descriptor that points at the file is closed again.
  EXPECT_TRUE(eventually([&] {
    for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
      std::error_code ignored;
      if (std::filesystem::read_symlink(entry.path(), ignored) == path_) return false;
    }
    return true;
  }));
}

/// A sink that gathers, may be held up, and may fail.
struct SinkState {
  std::mutex mutex;  // guards what follows
  std::condition_variable changed;
  std::string bytes;
  std::size_t bytes_max = SIZE_MAX;
  bool held = false;
  bool ended = false;
  std::thread::id thread;
  std::thread::id ended_on;
};

class TestSink final : public BodySink {
 public:
  explicit TestSink(SinkState& state) : state_(state) {}
  ~TestSink() override {
    const std::scoped_lock lock(state_.mutex);
    state_.ended = true;
    state_.ended_on = std::this_thread::get_id();
    state_.changed.notify_all();
  }
  Result<void> write(std::string_view bytes) override {
    std::unique_lock lock(state_.mutex);
    state_.changed.wait_for(lock, kTestWait, [this] { return !state_.held; });
    state_.thread = std::this_thread::get_id();
    if (state_.bytes.size() + bytes.size() > state_.bytes_max) {
      return fail(ErrorCode::unavailable, "disk full");
    }
    state_.bytes.append(bytes);
    return {};
  }

 private:
  SinkState& state_;
};

Handler read_to(SinkState& state) {
  return [&state](Exchange exchange) {
    const auto io = std::this_thread::get_id();
    std::move(exchange).read_body_to(std::make_unique<TestSink>(state), kBodyMax,
                                     [&state, io](Exchange read, Result<void> result) {
                                       std::unique_lock lock(state.mutex);
                                       EXPECT_EQ(std::this_thread::get_id(), io);
                                       EXPECT_NE(state.thread, io);
                                       std::string text =
                                           result ? "ok " : result.error().message + " ";
                                       text += state.ended ? "ended" : "open";
                                       lock.unlock();
                                       std::move(read).send(text_response(std::move(text)));
                                     });
  };
}

TEST(BodySinks, TakeBodiesOnAThreadThatMayBlock) {
  const std::string body = make_bytes(3'000'000);
  const std::string head = "POST / HTTP/1.1\r\nHost: h\r\n";
  const std::string requests[] = {
      head + "Content-Length: 3000000\r\n\r\n" + body,
      head + "Transfer-Encoding: chunked\r\n\r\n2dc6c0\r\n" + body + "\r\n0\r\n\r\n",
      head + "Content-Length: 3000000\r\nExpect: 100-continue\r\n\r\n" + body,
  };
  for (const std::string& request : requests) {
    SinkState state;
    TestServer server(read_to(state));
    RawClient client = server.connect();

    EXPECT_EQ(client.ask(request).body, "ok ended");
    EXPECT_TRUE(state.bytes == body);
    EXPECT_EQ(client.ask("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nx").body,
              "ok ended");
    EXPECT_EQ(client.ask(kGet).body, "ok ended");
  }
}

TEST(BodySinks, HoldThePeerUpWhileTheyAreBusy) {
  SinkState state;
  state.held = true;
  TestServer server(read_to(state));
  RawClient client = server.connect();
  const std::string body = make_bytes(8 << 20);
  client.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 8388608\r\n\r\n");
  std::atomic<std::size_t> sent{0};
  std::thread sender([&] {
    for (std::size_t at = 0; at < body.size(); at += 65'536) {
      if (!client.send(std::string_view(body).substr(at, 65'536))) return;
      sent = at + 65'536;
    }
  });

  // The sockets' buffers fill, and then nothing moves.
  EXPECT_TRUE(eventually([&] { return sent > 0; }));
  {
    const std::scoped_lock lock(state.mutex);
    EXPECT_TRUE(state.bytes.empty());
    state.held = false;
  }
  state.changed.notify_all();
  sender.join();

  EXPECT_EQ(client.read_answer().body, "ok ended");
  EXPECT_TRUE(state.bytes == body);
}

TEST(BodySinks, HandTheirErrorsOn) {
  SinkState state;
  state.bytes_max = 100'000;
  TestServer server(read_to(state));
  RawClient client = server.connect();
  client.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\n" +
              make_bytes(1'000'000));

  const RawAnswer answer = client.read_answer();
  EXPECT_EQ(answer.body, "disk full ended");
  EXPECT_EQ(answer.header("Connection"), "close");
}

TEST(BodySinks, GetNoMoreThanTheLimit) {
  SinkState state;
  TestServer server(read_to(state));
  RawClient client = server.connect();
  const std::string chunk = "100000\r\n" + make_bytes(0x100000) + "\r\n";
  client.send("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n");
  for (int i = 0; i < 9; ++i) client.send(chunk);

  EXPECT_THAT(client.read_answer().body,
              testing::StartsWith("Request body larger than 8388608 bytes"));
  EXPECT_LE(state.bytes.size(), kBodyMax);
}

TEST(BodySinks, EndWhereTheyMayBlockWhenTheBodyIsMalformed) {
  SinkState state;
  std::atomic<std::thread::id> io_thread;
  TestServer server([&](Exchange exchange) {
    io_thread = std::this_thread::get_id();
    read_to(state)(std::move(exchange));
  });
  RawClient client = server.connect();
  client.send("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nx");

  EXPECT_THAT(client.read_to_end(), testing::StartsWith("HTTP/1.1 400 "));
  std::unique_lock lock(state.mutex);
  ASSERT_TRUE(state.changed.wait_for(lock, kTestWait, [&] { return state.ended; }));
  EXPECT_NE(state.ended_on, io_thread.load());
}

TEST(BodySinks, EndWhenThePeerBreaksOff) {
  SinkState state;
  TestServer server(read_to(state));
  RawClient client = server.connect();
  client.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\n" +
              make_bytes(500'000));
  client.close();

  std::unique_lock lock(state.mutex);
  EXPECT_TRUE(state.changed.wait_for(lock, kTestWait, [&] { return state.ended; }));
}

/// Hands the writer of each stream to the test.
class Streams : public testing::Test {
 protected:
  StreamWriter take_writer() {
    std::unique_lock lock(mutex_);
    EXPECT_TRUE(changed_.wait_for(lock, kTestWait, [this] { return writer_.has_value(); }));
    StreamWriter writer = std::move(*writer_);
    writer_.reset();
    return writer;
  }
  Handler handler() {
    return [this](Exchange exchange) {
      if (exchange.request().path == "/plain")
        return std::move(exchange).send(text_response("plain"));
      Response head;
      head.add_header("Content-Type", "text/event-stream");
      StreamWriter writer = std::move(exchange).stream(std::move(head));
      const std::scoped_lock lock(mutex_);
      writer_.emplace(std::move(writer));
      changed_.notify_all();
    };
  }

  std::mutex mutex_;  // guards writer_
  std::condition_variable changed_;
  std::optional<StreamWriter> writer_;
};

TEST_F(Streams, SendWhatIsWrittenAtOnceAndEndWithTheirWriter) {
  TestServer server(handler());
  RawClient client = server.connect();
  client.send(kGet);

  EXPECT_THAT(client.read_until("\r\n\r\n"), testing::HasSubstr("Transfer-Encoding: chunked\r\n"));
  {
    StreamWriter writer = take_writer();
    EXPECT_TRUE(writer.write("data: 1\n\n"));
    EXPECT_EQ(client.read_chunk(), "data: 1\n\n");
    EXPECT_TRUE(writer.write("data: 2\n\n"));
    EXPECT_EQ(client.read_chunk(), "data: 2\n\n");
    EXPECT_TRUE(writer.write(""));
    EXPECT_TRUE(writer.is_open());
  }
  EXPECT_EQ(client.read_chunk(), "");
  EXPECT_EQ(client.ask("GET /plain HTTP/1.1\r\nHost: h\r\n\r\n").body, "plain");
}

TEST_F(Streams, ThatAreBrokenOffSendWhatWasWrittenAndMissTheirEnd) {
  TestServer server(handler());
  RawClient client = server.connect();
  client.send(std::string(kGet) + "GET /plain HTTP/1.1\r\nHost: h\r\n\r\n");
  StreamWriter writer = take_writer();
  EXPECT_TRUE(writer.write("data: 1\n\n"));

  std::move(writer).break_off();

  EXPECT_THAT(client.read_to_end(), testing::EndsWith("\r\n\r\n9\r\ndata: 1\n\n\r\n"));
  client.close();
  EXPECT_TRUE(eventually([&] { return server->connections() == 0; }));
}

TEST_F(Streams, AnswerRequestsThatWerePipelinedBehindThem) {
  TestServer server(handler());
  RawClient client = server.connect();
  client.send(std::string(kGet) + "GET /plain HTTP/1.1\r\nHost: h\r\n\r\n");
  take_writer().write("one");

  EXPECT_EQ(client.read_answer().body, "one");
  EXPECT_EQ(client.read_answer().body, "plain");
}

TEST_F(Streams, EndWithTheConnectionBefore11) {
  TestServer server(handler());
  RawClient client = server.connect();
  client.send("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
  {
    StreamWriter writer = take_writer();
    writer.write("one");
    writer.write("two");
  }
  const std::string all = client.read_to_end();
  EXPECT_THAT(all, testing::HasSubstr("Connection: close\r\n"));
  EXPECT_THAT(all, testing::EndsWith("\r\n\r\nonetwo"));
}

TEST_F(Streams, SendOnlyTheHeadToAHead) {
  TestServer server(handler());
  RawClient client = server.connect();
  client.send("HEAD / HTTP/1.1\r\nHost: h\r\n\r\n");
  take_writer().write("never");
  EXPECT_EQ(client.read_answer(true).status, 200U);

  EXPECT_EQ(client.ask("GET /plain HTTP/1.1\r\nHost: h\r\n\r\n").body, "plain");
}

TEST_F(Streams, NoticeAPeerThatLeft) {
  TestServer server(handler());
  RawClient client = server.connect();
  client.send(kGet);
  StreamWriter writer = take_writer();
  ASSERT_TRUE(writer.is_open());

  client.close();

  EXPECT_TRUE(eventually([&] { return !writer.is_open(); }));
  EXPECT_FALSE(writer.write("data"));
  EXPECT_TRUE(eventually([&] { return server->connections() == 0; }));
}

TEST_F(Streams, GiveUpOnAPeerThatFallsTooFarBehind) {
  TestServer server(handler());
  RawClient client = server.connect(4096);
  client.send(kGet);
  StreamWriter writer = take_writer();

  const std::string event(10'000, 'x');
  EXPECT_TRUE(eventually([&] { return !writer.write(event); }));
  EXPECT_FALSE(writer.is_open());
  EXPECT_TRUE(eventually([&] { return server->connections() == 0; }));
}

// Whoever writes may hold a lock that the other takes.
TEST_F(Streams, NeverTellOfALostPeerFromWithinAWrite) {
  bool is_writing = false;
  std::promise<bool> told_from_within;
  std::jthread elsewhere;
  TestServer server([&](Exchange exchange) {
    exchange.on_disconnect([&] { told_from_within.set_value(is_writing); });
    // In a turn of the I/O thread of its own, as a queue's reply comes.
    const auto held = std::make_shared<Exchange>(std::move(exchange));
    elsewhere = std::jthread([held, &is_writing] {
      held->post([held, &is_writing] {
        StreamWriter writer = std::move(*held).stream(Response{});
        is_writing = true;
        while (writer.write(std::string(300'000, 'x'))) {
        }
        is_writing = false;
      });
    });
  });
  RawClient client = server.connect(4096);  // and reads nothing
  client.send(kGet);

  std::future<bool> told = told_from_within.get_future();
  ASSERT_EQ(told.wait_for(kTestWait), std::future_status::ready);
  EXPECT_FALSE(told.get());
}

// Nothing is left of the memory for reads then.
TEST(HeldRequests, NoticeThatThePeerLeftThoughTheirHeadFillsTheReadBuffer) {
  std::promise<void> gone;
  std::optional<Exchange> held;
  TestServer server([&](Exchange exchange) {
    held.emplace(std::move(exchange));
    held->on_disconnect([&] {
      held.reset();
      gone.set_value();
    });
  });
  RawClient client = server.connect();
  const std::string head = "GET / HTTP/1.1\r\nHost: h\r\nX-Filler: ";
  client.send(head + std::string(kReadBufferBytes - head.size() - 4, 'x') + "\r\n\r\n");
  client.close();

  EXPECT_EQ(gone.get_future().wait_for(kTestWait), std::future_status::ready);
}

TEST_F(Streams, TakeWritesFromSeveralThreads) {
  TestServer server(handler());
  RawClient client = server.connect();
  client.send(kGet);
  {
    StreamWriter writer = take_writer();
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([&] {
        for (int i = 0; i < 500; ++i) EXPECT_TRUE(writer.write("0123456789"));
      });
    }
    for (std::thread& thread : threads) thread.join();
  }
  EXPECT_EQ(client.read_answer().body.size(), 20'000U);
}

TEST_F(Streams, AreCutOffWhenTheServerStops) {
  TestServer server(handler());
  RawClient client = server.connect();
  client.send(kGet);
  StreamWriter writer = take_writer();

  server->stop(milliseconds(0));

  EXPECT_FALSE(writer.is_open());
  EXPECT_FALSE(writer.write("late"));
  client.read_to_end();
}

TEST_F(Streams, EndCleanlyWhileTheServerStopsAccepting) {
  TestServer server(handler());
  RawClient client = server.connect();
  client.send(kGet);
  StreamWriter writer = take_writer();
  server->stop_accepting();

  EXPECT_TRUE(writer.write("last"));
  writer = StreamWriter();

  EXPECT_EQ(client.read_answer().body, "last");
  EXPECT_TRUE(client.is_ended());
}

}  // namespace
}  // namespace quern::http
