// Many clients that do what clients do, in an order that a seed chooses; each knows every byte that it is to get.
// QUERN_STRESS_SEED: another seed. QUERN_STRESS_SECONDS: longer.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <condition_variable>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <map>
#include <mutex>
#include <random>
#include <thread>
#include <vector>

#include "http/raw_client.h"
#include "http/server.h"

namespace quern::http {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr seconds kStuck{15};  // a client that hears nothing for so long has failed

unsigned long number_of(const char* name, unsigned long otherwise) {
  const char* const text = std::getenv(name);
  return text == nullptr ? otherwise : std::strtoul(text, nullptr, 10);
}

class Random {
 public:
  explicit Random(std::uint64_t seed) : engine_(seed) {}
  /// In [from, to].
  std::size_t number(std::size_t from, std::size_t to) {
    return std::uniform_int_distribution<std::size_t>(from, to)(engine_);
  }
  bool one_in(std::size_t n) { return number(1, n) == 1; }
  /// Mostly small.
  std::size_t size(std::size_t max) {
    if (one_in(8)) return number(0, 2);
    if (one_in(8)) return std::min<std::size_t>(max, (4'096U << number(0, 5)) + number(0, 4) - 2);
    return number(0, one_in(6) ? max : std::max<std::size_t>(max / 50, 1));
  }

 private:
  std::mt19937_64 engine_;
};

std::string pattern(std::size_t bytes, std::size_t seed) {
  std::string text(bytes, ' ');
  for (std::size_t i = 0; i < bytes; ++i)
    text[i] = static_cast<char>('a' + (i * 7 + seed + i / 997) % 26);
  return text;
}

/// Two threads that do things later.
class Later {
 public:
  using Work = std::move_only_function<void()>;
  Later() {
    for (auto& thread : threads_) thread = std::thread([this] { run(); });
  }
  ~Later() {
    {
      const std::scoped_lock lock(mutex_);
      is_over_ = true;
    }
    changed_.notify_all();
    for (auto& thread : threads_) thread.join();
  }
  void post(microseconds delay, Work work) {
    {
      const std::scoped_lock lock(mutex_);
      work_.emplace(Clock::now() + delay, std::move(work));
    }
    changed_.notify_one();
  }

 private:
  void run() {
    std::unique_lock lock(mutex_);
    while (!is_over_ || !work_.empty()) {
      if (work_.empty()) {
        changed_.wait(lock);
      } else if (!is_over_ && work_.begin()->first > Clock::now()) {
        changed_.wait_until(lock, Clock::time_point(work_.begin()->first));
      } else {
        Work work = std::move(work_.extract(work_.begin()).mapped());
        lock.unlock();
        work();
        work = nullptr;
        lock.lock();
      }
    }
  }
  std::mutex mutex_;  // guards work_ and is_over_
  std::condition_variable changed_;
  std::multimap<Clock::time_point, Work> work_;
  bool is_over_ = false;
  std::array<std::thread, 2> threads_;
};

struct GatheringSink final : BodySink {
  explicit GatheringSink(std::shared_ptr<std::string> gathered) : into(std::move(gathered)) {}
  Result<void> write(std::string_view bytes) override {
    into->append(bytes);
    return {};
  }
  std::shared_ptr<std::string> into;
};

FileBody make_file(std::string_view bytes) {
  const int fd = ::memfd_create("stress", MFD_CLOEXEC);
  EXPECT_EQ(::pwrite(fd, bytes.data(), bytes.size(), 0), std::ssize(bytes));
  return {.fd = fd, .offset = 0, .bytes = bytes.size()};
}

/// /get/HOW/BYTES/SEED, /echo/HOW and /ignore, /hold
class StressHandler {
 public:
  explicit StressHandler(Later& later) : later_(later) {}

  void operator()(Exchange exchange) {
    std::vector<std::string> parts;
    std::string_view path = exchange.request().path.substr(1);
    for (;;) {
      const std::size_t slash = path.find('/');
      parts.emplace_back(path.substr(0, slash));
      if (slash == std::string_view::npos) break;
      path.remove_prefix(slash + 1);
    }
    if (parts[0] == "get") return get(std::move(exchange), parts);
    if (parts[0] == "echo") return echo(std::move(exchange), parts[1]);
    if (parts[0] == "hold") return hold(std::move(exchange));
    std::move(exchange).send(text_response("ignored"));
  }

  std::atomic<int> held = 0;

 private:
  microseconds delay() { return microseconds((++calls_ * 7919) % 3'000); }

  void answer_later(Exchange exchange, Response response) {
    later_.post(delay(),
                [exchange = std::move(exchange), response = std::move(response)]() mutable {
                  std::move(exchange).send(std::move(response));
                });
  }

  void get(Exchange exchange, const std::vector<std::string>& parts) {
    const std::string body = pattern(std::stoul(parts[2]), std::stoul(parts[3]));
    const std::string& how = parts[1];
    if (how == "now") return std::move(exchange).send(text_response(body));
    if (how == "later") return answer_later(std::move(exchange), text_response(body));
    if (how == "watched") {  // reads while it waits
      exchange.on_disconnect([] {});
      return answer_later(std::move(exchange), text_response(body));
    }
    if (how == "file") {
      Response response;
      response.file = make_file(body);
      return std::move(exchange).send(std::move(response));
    }
    // In pieces, never more behind than a stream may be.
    auto writer = std::make_shared<StreamWriter>(std::move(exchange).stream({}));
    stream_on(std::move(writer), body, 0);
  }

  void stream_on(std::shared_ptr<StreamWriter> writer, std::string body, std::size_t at) {
    later_.post(delay() / 4, [this, writer = std::move(writer), body = std::move(body),
                              at]() mutable {
      const std::size_t bytes = std::min<std::size_t>(body.size() - at, 1 + calls_ * 131 % 9'000);
      if (bytes > 0 && !writer->write(body.substr(at, bytes))) return;
      at += bytes;
      if (at < body.size()) stream_on(std::move(writer), std::move(body), at);
    });
  }

  void echo(Exchange exchange, const std::string& how) {
    if (how == "sink" || how == "latersink") {
      auto gathered = std::make_shared<std::string>();
      auto sink = std::make_unique<GatheringSink>(gathered);
      auto then = [this, gathered, how](Exchange read, Result<void> result) {
        Response response = text_response(result ? *gathered : "failed");
        if (how == "sink") return std::move(read).send(std::move(response));
        answer_later(std::move(read), std::move(response));
      };
      return std::move(exchange).read_body_to(std::move(sink), kEchoBodyMax, std::move(then));
    }
    auto then = [this, how](Exchange read, Result<void> result) {
      Response response = text_response(result ? std::string(read.request().body) : "failed");
      if (how == "now") return std::move(read).send(std::move(response));
      answer_later(std::move(read), std::move(response));
    };
    if (how != "lateread") return std::move(exchange).read_body(kEchoBodyMax, std::move(then));
    later_.post(delay(), [exchange = std::move(exchange), then]() mutable {
      std::move(exchange).read_body(kEchoBodyMax, std::move(then));
    });
  }

  /// Until the peer is gone.
  void hold(Exchange exchange) {
    ++held;
    auto kept = std::make_shared<std::optional<Exchange>>(std::move(exchange));
    (*kept)->on_disconnect([this, kept] {
      --held;
      kept->reset();  // answers 500, to nobody
    });
  }

  Later& later_;
  std::atomic<std::size_t> calls_ = 0;
};

/// What a client does on one connection, and what it must get for it.
struct Plan {
  enum class End {
    half_close,   // right behind the last byte; the server answers all and ends
    asked_close,  // the last request asks for it
    leave,        // the client ends, when all was answered
    hold,         // the last request is never answered; the client leaves in an orderly way
    reset,        // in the middle
    broken,       // what is no request, answered 400
    cut_body,     // ends in the middle of a body: ended without an answer to it
    cut_head,     // ends in the middle of a head: 400
  };
  struct Wanted {
    unsigned status = 200;
    bool head_only = false;
    std::string body;
  };
  std::string out;
  std::vector<Wanted> wanted;
  End end = End::leave;
  int receive_buffer = 0;
  int send_buffer = 0;
  bool is_slow = false;
  std::size_t reset_at = 0;  // bytes sent and received
  std::string what;          // for messages

  [[nodiscard]] bool ends_sending() const {
    return end == End::half_close || end == End::broken || end == End::cut_body ||
           end == End::cut_head;
  }
};

std::string chunked(std::string_view body, Random& random) {
  std::string text;
  while (!body.empty()) {
    const std::size_t bytes =
        std::min(body.size(), random.number(1, random.one_in(2) ? 50 : 70'000));
    char size[20];
    text.append(size, static_cast<std::size_t>(std::snprintf(size, sizeof size, "%zx\r\n", bytes)));
    text.append(body.substr(0, bytes)).append("\r\n");
    body.remove_prefix(bytes);
  }
  return text + "0\r\n" + (random.one_in(3) ? "Trailer: t\r\n" : "") + "\r\n";
}

void add_request(Plan& plan, Random& random, std::size_t& budget, bool is_last) {
  const bool may_stream =
      !plan.ends_sending();  // "no one sends half a connection to an event stream"
  const std::string headers =
      (random.one_in(5) ? "X-Filler: " + pattern(random.size(5'000), 1) + "\r\n" : "") +
      (is_last && plan.end == Plan::End::asked_close ? "Connection: close\r\n" : "");
  if (random.one_in(3)) {
    const std::size_t bytes = std::min(random.size(300 * 1024), budget);
    budget -= bytes;
    const std::string body = pattern(bytes, random.number(0, 25));
    // A body that is ignored and too large to skip ends the connection.
    const bool is_ignored = bytes < 60'000 && random.one_in(5);
    static const char* const kHow[] = {"now", "later", "sink", "latersink", "lateread"};
    const std::string target =
        is_ignored ? "/ignore" : std::string("/echo/") + kHow[random.number(0, 4)];
    plan.what += " " + target + ":" + std::to_string(bytes);
    if (random.one_in(2) && !is_ignored) {
      plan.out += "POST " + target + " HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n" +
                  headers + "\r\n" + chunked(body, random);
    } else {
      plan.out += post(target, body, headers);
    }
    plan.wanted.push_back({.body = is_ignored ? "ignored" : body});
    return;
  }
  static const char* const kHow[] = {"now", "later", "file", "watched", "stream"};
  const std::string how = kHow[random.number(0, may_stream ? 4 : 3)];
  std::size_t bytes = std::min(random.size(random.one_in(10) ? 5U << 20U : 100'000), budget);
  if (how == "stream") bytes = std::min<std::size_t>(bytes, 200'000);
  budget -= bytes;
  const std::size_t seed = random.number(0, 25);
  const std::string target =
      "/get/" + how + "/" + std::to_string(bytes) + "/" + std::to_string(seed);
  const bool head_only = random.one_in(10) && how != "stream";
  plan.what += std::string(" ") + (head_only ? "HEAD " : "") + target;
  plan.out += std::string(head_only ? "HEAD " : "GET ") + target + " HTTP/1.1\r\nHost: h\r\n" +
              headers + "\r\n";
  plan.wanted.push_back({.head_only = head_only, .body = head_only ? "" : pattern(bytes, seed)});
}

Plan make_plan(Random& random) {
  Plan plan;
  plan.end = static_cast<Plan::End>(random.number(0, 7));
  plan.what = "end " + std::to_string(static_cast<int>(plan.end)) + ":";
  plan.receive_buffer = random.one_in(4) ? static_cast<int>(random.number(8'000, 30'000))
                                         : 0;  // with less the kernel waits 0.2 s for each window
  plan.send_buffer = random.one_in(6) ? 2'000 : 0;
  plan.is_slow = random.one_in(4);
  std::size_t budget = plan.receive_buffer > 0 ? 300'000 : 6U << 20U;
  const std::size_t requests = random.number(1, random.one_in(4) ? 40 : 6);
  for (std::size_t i = 1; i <= requests; ++i) add_request(plan, random, budget, i == requests);
  switch (plan.end) {
    case Plan::End::hold:
      plan.out += get("/hold");
      break;
    case Plan::End::reset:
      if (random.one_in(2)) plan.out += get("/hold");
      plan.reset_at = random.number(0, plan.out.size());
      if (random.one_in(2)) plan.reset_at += random.number(0, 1U << 20U);
      break;
    case Plan::End::broken:
      plan.out += "what is this\r\n\r\n" + pattern(random.size(200'000), 3);
      plan.wanted.push_back({.status = 400, .body = ""});
      break;
    case Plan::End::cut_body:
      plan.out += "POST /echo/now HTTP/1.1\r\nHost: h\r\nContent-Length: 200000\r\n\r\n" +
                  pattern(random.size(199'999), 3);
      break;
    case Plan::End::cut_head:
      plan.out += "GET /cut HTTP/1.1\r\nHost";
      plan.wanted.push_back({.status = 400, .body = ""});
      break;
    default:
      break;
  }
  return plan;
}

/// Takes whole answers from the front of what came in.
class Answers {
 public:
  explicit Answers(const Plan& plan) : plan_(plan) {}

  std::string in;
  [[nodiscard]] std::size_t count() const { return count_; }
  [[nodiscard]] std::size_t left() const { return in.size() - at_; }

  /// What is wrong, if something is.
  std::string take() {
    for (;;) {
      if (head_end_ == 0) {
        const std::size_t end = in.find("\r\n\r\n", at_);
        if (end == std::string::npos) return "";
        if (count_ >= plan_.wanted.size())
          return "more answers than requests: " + in.substr(at_, 300);
        const std::string head = in.substr(at_, end + 2 - at_);
        head_end_ = end + 4;
        const std::string status = "HTTP/1.1 " + std::to_string(plan_.wanted[count_].status) + " ";
        if (!head.starts_with(status)) return "not " + status + "but " + head;
        const std::size_t length = head.find("Content-Length: ");
        is_chunked_ = head.find("Transfer-Encoding: chunked\r\n") != std::string::npos;
        length_ = length == std::string::npos ? 0 : std::stoul(head.substr(length + 16));
        if (plan_.wanted[count_].head_only) length_ = 0;
        body_.clear();
        at_ = head_end_;
      }
      if (is_chunked_) {
        bool is_done = false;
        while (!is_done) {
          const std::size_t line = in.find("\r\n", at_);
          if (line == std::string::npos) return "";
          const std::size_t bytes = std::stoul(in.substr(at_, line - at_), nullptr, 16);
          if (in.size() < line + 2 + bytes + 2) return "";
          body_.append(in, line + 2, bytes);
          at_ = line + 2 + bytes + 2;
          is_done = bytes == 0;
        }
      } else {
        if (in.size() - at_ < length_) return "";
        body_ = in.substr(at_, length_);
        at_ += length_;
      }
      const Plan::Wanted& wanted = plan_.wanted[count_];
      if (wanted.status == 200 && body_ != wanted.body)
        return "answer " + std::to_string(count_) +
               " has other bytes: " + std::to_string(body_.size()) + " of " +
               std::to_string(wanted.body.size());
      ++count_;
      head_end_ = 0;
    }
  }

 private:
  const Plan& plan_;
  std::size_t at_ = 0;
  std::size_t head_end_ = 0;  // 0: a head is awaited
  std::size_t length_ = 0;
  bool is_chunked_ = false;
  std::string body_;
  std::size_t count_ = 0;
};

/// Sends and receives at once. Empty if all was right. `may_be_cut`: the server may end it at any time.
std::string run_plan(const Plan& plan, std::uint16_t port, Random& random, bool may_be_cut) {
  RawClient client(port, plan.receive_buffer);
  if (!client.is_connected()) return may_be_cut ? "" : "cannot connect";
  ::fcntl(client.fd(), F_SETFL, O_NONBLOCK);
  if (plan.send_buffer > 0)
    ::setsockopt(client.fd(), SOL_SOCKET, SO_SNDBUF, &plan.send_buffer, sizeof plan.send_buffer);
  Answers answers(plan);
  std::string_view out = plan.out;
  std::size_t sent_all = 0;
  std::string memory(64 * 1024, ' ');
  auto heard_at = Clock::now();
  auto send_at = Clock::now();
  bool has_ended_sending = false;
  const bool ends_sending = plan.ends_sending();
  const bool server_ends = ends_sending || plan.end == Plan::End::asked_close;
  const auto state = [&] {
    return " (answers " + std::to_string(answers.count()) + " of " +
           std::to_string(plan.wanted.size()) + ", " + std::to_string(answers.left()) +
           " bytes more, unsent " + std::to_string(out.size()) + ")";
  };
  for (;;) {
    if (plan.end == Plan::End::reset && sent_all + answers.in.size() >= plan.reset_at) {
      client.reset();
      return "";
    }
    const bool has_all =
        answers.count() == plan.wanted.size() && answers.left() == 0 && out.empty();
    if (has_all && !server_ends) {
      if (random.one_in(2)) std::this_thread::sleep_for(milliseconds(random.number(0, 5)));
      char byte = 0;
      if (::recv(client.fd(), &byte, 1, 0) >= 0 && !may_be_cut)
        return "ended or more, unasked" + state();
      client.close();
      return "";
    }
    if (Clock::now() - heard_at > kStuck) return "stuck" + state();
    const bool may_send = !out.empty() && Clock::now() >= send_at;
    pollfd ready{.fd = client.fd(),
                 .events = static_cast<short>(POLLIN | (may_send ? POLLOUT : 0)),
                 .revents = 0};
    ::poll(&ready, 1, !out.empty() && !may_send ? 1 : 100);
    if (may_send && (ready.revents & POLLOUT) != 0) {
      const std::size_t piece =
          std::min(out.size(), random.number(1, random.one_in(3)   ? 30
                                                : random.one_in(2) ? 5'000
                                                                   : 300'000));
      const ssize_t sent = ::send(client.fd(), out.data(), piece, MSG_NOSIGNAL);
      if (sent < 0 && errno != EAGAIN) {
        if (!may_be_cut) return "cannot send" + state();
        return "";
      }
      if (sent > 0) {
        out.remove_prefix(static_cast<std::size_t>(sent));
        sent_all += static_cast<std::size_t>(sent);
        heard_at = Clock::now();
        if (random.one_in(4)) send_at = heard_at + microseconds(random.number(0, 2'000));
      }
    }
    if (out.empty() && ends_sending && !has_ended_sending) {
      has_ended_sending = true;
      client.end_sending();
    }
    if ((ready.revents & (POLLIN | POLLHUP | POLLERR)) == 0) continue;
    const std::size_t wanted = plan.is_slow ? random.number(1, 20'000) : memory.size();
    const ssize_t got = ::recv(client.fd(), memory.data(), wanted, 0);
    if (got < 0 && errno == EAGAIN) continue;
    if (got <= 0) {
      if (may_be_cut) return "";
      if (got < 0) return "reset" + state();
      const bool has_answers = answers.count() == plan.wanted.size() && answers.left() == 0;
      if (!server_ends || !has_answers) return "ended too early" + state();
      return "";
    }
    heard_at = Clock::now();
    answers.in.append(memory, 0, static_cast<std::size_t>(got));
    if (std::string wrong = answers.take(); !wrong.empty()) {
      const bool is_late = may_be_cut && wrong.find("HTTP/1.1 408 ") != std::string::npos;
      return is_late ? "" : wrong + state();
    }
    if (plan.is_slow && random.one_in(2))
      std::this_thread::sleep_for(microseconds(random.number(0, 300)));
  }
}

std::size_t open_files() {
  const std::filesystem::directory_iterator files("/proc/self/fd");
  return static_cast<std::size_t>(std::distance(begin(files), end(files)));
}

class TransportStress : public testing::TestWithParam<unsigned> {
 protected:
  /// Clients on threads of their own, until it is time.
  std::size_t run_clients(std::uint16_t port, std::size_t threads, milliseconds how_long,
                          std::uint64_t seed, bool may_be_cut) {
    std::atomic<std::size_t> plans = 0;
    std::vector<std::jthread> clients;
    const auto until = Clock::now() + how_long;
    for (std::size_t i = 0; i < threads; ++i) {
      clients.emplace_back([=, &plans] {
        Random random(seed * 1'000 + i);
        while (Clock::now() < until && !testing::Test::HasFailure()) {
          const Plan plan = make_plan(random);
          const std::string wrong = run_plan(plan, port, random, may_be_cut);
          EXPECT_EQ(wrong, "") << "seed " << seed << " client " << i << " "
                               << plan.what.substr(0, 600);
          ++plans;
        }
      });
    }
    clients.clear();
    return plans;
  }
};

TEST_P(TransportStress, EveryClientGetsItsBytes) {
  const std::uint64_t seed = number_of("QUERN_STRESS_SEED", 1);
  Later later;
  StressHandler handler(later);
  TestServer server([&](Exchange exchange) { handler(std::move(exchange)); },
                    {.threads = GetParam()});
  const std::size_t files = open_files();
  {
    std::vector<RawClient> idle;  // that say nothing, or half of something
    for (int i = 0; i < 40; ++i) {
      idle.push_back(server.connect());
      if (i % 2 == 0) idle.back().send("GET / HT");
    }
    const std::size_t plans = run_clients(
        server.port(), 24, milliseconds(1'000 * number_of("QUERN_STRESS_SECONDS", 4)), seed, false);
    std::printf("%zu connections\n", plans);
    for (std::size_t i = 0; i < idle.size(); i += 4) idle[i].reset();
  }
  EXPECT_TRUE(eventually([&] { return server->connections() == 0; })) << server->connections();
  EXPECT_TRUE(eventually([&] { return handler.held == 0; })) << handler.held;
  EXPECT_TRUE(eventually([&] { return open_files() == files; })) << open_files() << " " << files;
}

TEST_P(TransportStress, TimesOutInTheMiddle) {
  const std::uint64_t seed = number_of("QUERN_STRESS_SEED", 1);
  Later later;
  StressHandler handler(later);
  ServerOptions options{.threads = GetParam()};
  options.head_timeout = options.body_timeout = options.idle_timeout = milliseconds(4);
  options.write_timeout = milliseconds(40);
  TestServer server([&](Exchange exchange) { handler(std::move(exchange)); }, options);
  const std::size_t files = open_files();
  run_clients(server.port(), 16, milliseconds(1'500), seed, true);
  EXPECT_TRUE(eventually([&] { return server->connections() == 0; })) << server->connections();
  EXPECT_TRUE(eventually([&] { return handler.held == 0; })) << handler.held;
  EXPECT_TRUE(eventually([&] { return open_files() == files; })) << open_files() << " " << files;
}

TEST_P(TransportStress, StopsInTheMiddle) {
  const std::uint64_t seed = number_of("QUERN_STRESS_SEED", 1);
  const std::size_t files = open_files();
  for (std::uint64_t round = 0; round < 6 && !HasFailure(); ++round) {
    Later later;
    StressHandler handler(later);
    Random random(seed * 77 + round);
    TestServer server([&](Exchange exchange) { handler(std::move(exchange)); },
                      {.threads = GetParam()});
    std::jthread clients(
        [&] { run_clients(server.port(), 12, milliseconds(250), seed + round, true); });
    std::this_thread::sleep_for(milliseconds(random.number(20, 200)));
    if (random.one_in(2)) server->stop_accepting();
    const auto start = Clock::now();
    server->stop(milliseconds(random.number(0, 1) * random.number(0, 100)));
    EXPECT_LT(Clock::now() - start, seconds(5));
    EXPECT_EQ(server->connections(), 0U);
    clients.join();
  }
  EXPECT_TRUE(eventually([&] { return open_files() == files; })) << open_files() << " " << files;
}

INSTANTIATE_TEST_SUITE_P(Threads, TransportStress, testing::Values(1U, 2U));

}  // namespace
}  // namespace quern::http
