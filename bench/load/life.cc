// quern_bench_life: creates tasks over keep-alive connections and, unless told otherwise, sees each
// of them finished, as a caller would.
//
//   --url URL --model ID --key SECRET --body JSON --connections N
//   --window N        tasks that one connection leaves unfinished before it waits
//   --look_ms N       a task is asked for this long after its creation, and again after as long
//   --warm_seconds N  not counted
//   --seconds N       counted
//   --count N         instead of all that is timed: create N tasks, tell the time now and then, and
//   end
//
// A connection has one request under way. It asks for its oldest task first: a queue answers in
// order, so nearly every question finds its task finished, however long the queue is. Prints one
// line of JSON at the end.

#include <sys/epoll.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <queue>
#include <string>
#include <string_view>
#include <vector>

#include "load/flags.h"
#include "load/http_socket.h"
#include "load/timing.h"

namespace {

constexpr std::int64_t kMillisecond = 1'000'000;
constexpr std::uint64_t kReports = 20;  // of a fill
constexpr int kEventsMax = 256;

struct Options {
  std::string url;
  std::string create_request;
  std::string look_head;  // up to the task id
  std::string look_tail;
  std::size_t connections;
  std::size_t window;
  std::int64_t look_after;
  std::int64_t warm;
  std::int64_t measured;
  std::uint64_t count;  // 0: timed
};

Options read_options(const bench::Flags& flags) {
  const std::string path = "/v1/queue/" + flags.text("--model");
  const std::string head =
      "\r\nHost: 127.0.0.1\r\nAuthorization: Key " + flags.text("--key") + "\r\n";
  const std::string body = flags.text("--body");
  const auto nanoseconds = [&](const std::string& name, double unit) {
    return static_cast<std::int64_t>(flags.number(name, 0) * unit);
  };
  return {
      .url = flags.text("--url"),
      .create_request = "POST " + path + " HTTP/1.1" + head +
                        "Content-Type: application/json\r\nContent-Length: " +
                        std::to_string(body.size()) + "\r\n\r\n" + body,
      .look_head = "GET " + path + "/requests/",
      .look_tail = "/status HTTP/1.1" + head + "\r\n",
      .connections = static_cast<std::size_t>(flags.number("--connections")),
      .window = static_cast<std::size_t>(flags.number("--window", 1)),
      .look_after = nanoseconds("--look_ms", 1e6),
      .warm = nanoseconds("--warm_seconds", 1e9),
      .measured = nanoseconds("--seconds", 1e9),
      .count = static_cast<std::uint64_t>(flags.number("--count", 0)),
  };
}

struct Pending {
  std::string id;
  std::int64_t created;
  std::int64_t look_at;
};

struct Caller {
  enum class Doing : std::uint8_t { nothing, creating, looking };

  bench::HttpSocket socket;
  Doing doing = Doing::nothing;
  std::int64_t asked = 0;
  std::deque<Pending> pending;
};

struct Totals {
  std::uint64_t created = 0;
  std::uint64_t finished = 0;
  std::uint64_t looks = 0;
  std::vector<std::int64_t> create_times;
  std::vector<std::int64_t> lives;  // from the create's sending to the look that found the end
};

[[noreturn]] void refuse(const char* what, const bench::Answer& answer) {
  std::fprintf(stderr, "%s was answered %u: %.*s\n", what, answer.status,
               static_cast<int>(std::min<std::size_t>(answer.body.size(), 300)),
               answer.body.data());
  std::exit(1);
}

class Load {
 public:
  explicit Load(Options options) : options_(std::move(options)), callers_(options_.connections) {}

  void run() {
    connect();
    begun_ = bench::now_ns();
    for (Caller& caller : callers_) next(caller, begun_);
    while (!is_over(bench::now_ns())) step();
  }

  void report() {
    const double seconds = options_.count != 0 ? static_cast<double>(bench::now_ns() - begun_) / 1e9
                                               : static_cast<double>(options_.measured) / 1e9;
    std::printf(
        "{\"seconds\":%.3f,\"created\":%llu,\"finished\":%llu,\"looks\":%llu,\"create_p50_ms\":%."
        "3f,"
        "\"create_p99_ms\":%.3f,\"life_p50_ms\":%.3f,\"life_p99_ms\":%.3f}\n",
        seconds, as_printed(totals_.created), as_printed(totals_.finished),
        as_printed(totals_.looks), bench::percentile_ms(totals_.create_times, 0.5),
        bench::percentile_ms(totals_.create_times, 0.99), bench::percentile_ms(totals_.lives, 0.5),
        bench::percentile_ms(totals_.lives, 0.99));
  }

 private:
  static unsigned long long as_printed(std::uint64_t value) { return value; }

  void connect() {
    epoll_ = ::epoll_create1(EPOLL_CLOEXEC);
    if (epoll_ < 0) bench::fail("epoll_create1");
    const std::uint16_t port = bench::port_of(options_.url);
    for (Caller& caller : callers_) {
      caller.socket.connect(port);
      epoll_event event{};
      event.events = EPOLLIN | EPOLLOUT | EPOLLET;
      event.data.ptr = &caller;
      if (::epoll_ctl(epoll_, EPOLL_CTL_ADD, caller.socket.fd(), &event) != 0)
        bench::fail("epoll_ctl");
    }
  }

  [[nodiscard]] bool is_filling() const { return options_.count != 0; }

  [[nodiscard]] bool is_over(std::int64_t now) const {
    return is_filling() ? totals_.created >= options_.count
                        : now >= begun_ + options_.warm + options_.measured;
  }

  [[nodiscard]] bool is_counted(std::int64_t now) const {
    return is_filling() || now >= begun_ + options_.warm;
  }

  // One wait for answers and for looks that come due.
  void step() {
    std::array<epoll_event, kEventsMax> events{};
    const int count = ::epoll_wait(epoll_, events.data(), kEventsMax, milliseconds_to_next_look());
    for (int i = 0; i < count; ++i)
      on_ready(*static_cast<Caller*>(events[static_cast<std::size_t>(i)].data.ptr));
    const std::int64_t now = bench::now_ns();
    while (!waiting_.empty() && waiting_.top().first <= now) {
      Caller& caller = *waiting_.top().second;
      waiting_.pop();
      next(caller, now);
    }
  }

  [[nodiscard]] int milliseconds_to_next_look() const {
    static constexpr std::int64_t kLongest = 100;
    if (waiting_.empty()) return kLongest;
    const std::int64_t left = (waiting_.top().first - bench::now_ns()) / kMillisecond + 1;
    return static_cast<int>(std::clamp<std::int64_t>(left, 0, kLongest));
  }

  void on_ready(Caller& caller) {
    if (caller.doing == Caller::Doing::nothing || !caller.socket.flush()) return;
    const auto answer = caller.socket.receive();
    if (!answer) return;
    const std::int64_t now = bench::now_ns();
    caller.doing == Caller::Doing::creating ? on_created(caller, *answer, now)
                                            : on_looked(caller, *answer, now);
    caller.doing = Caller::Doing::nothing;
    next(caller, now);
  }

  void on_created(Caller& caller, const bench::Answer& answer, std::int64_t now) {
    static constexpr std::string_view kId = "\"request_id\":\"";
    const std::size_t at = answer.body.find(kId);
    if (answer.status != 200 || at == std::string_view::npos) refuse("a create", answer);
    if (is_counted(now)) {
      ++totals_.created;
      totals_.create_times.push_back(now - caller.asked);
    }
    if (is_filling()) return report_fill(now);
    const std::string_view rest = answer.body.substr(at + kId.size());
    caller.pending.push_back(
        {std::string(rest.substr(0, rest.find('"'))), caller.asked, now + options_.look_after});
  }

  void report_fill(std::int64_t now) {
    if (totals_.created * kReports / options_.count == reported_) return;
    reported_ = totals_.created * kReports / options_.count;
    std::printf("{\"created\":%llu,\"seconds\":%.3f}\n", as_printed(totals_.created),
                static_cast<double>(now - begun_) / 1e9);
    std::fflush(stdout);
  }

  void on_looked(Caller& caller, const bench::Answer& answer, std::int64_t now) {
    if (answer.status != 200) refuse("a look at a task", answer);
    if (answer.body.find("\"error\":") != std::string_view::npos)
      refuse("a task failed; its look", answer);
    const bool counted = is_counted(now);
    if (counted) ++totals_.looks;
    Pending& oldest = caller.pending.front();
    if (answer.body.find("\"status\":\"COMPLETED\"") == std::string_view::npos) {
      oldest.look_at = now + options_.look_after;
      return;
    }
    if (counted) {
      ++totals_.finished;
      totals_.lives.push_back(now - oldest.created);
    }
    caller.pending.pop_front();
  }

  // What a caller without a request under way does now: look if one is due, else create, else wait.
  void next(Caller& caller, std::int64_t now) {
    if (!caller.pending.empty() && caller.pending.front().look_at <= now) {
      request_.assign(options_.look_head)
          .append(caller.pending.front().id)
          .append(options_.look_tail);
      return ask(caller, Caller::Doing::looking, request_, now);
    }
    if (caller.pending.size() < options_.window && may_create())
      return ask(caller, Caller::Doing::creating, options_.create_request, now);
    if (!caller.pending.empty()) waiting_.emplace(caller.pending.front().look_at, &caller);
  }

  // A fill creates its number and no more.
  bool may_create() { return !is_filling() || asked_for_++ < options_.count; }

  static void ask(Caller& caller, Caller::Doing doing, std::string_view request, std::int64_t now) {
    caller.doing = doing;
    caller.asked = now;
    caller.socket.send(request);
  }

  Options options_;
  std::vector<Caller> callers_;
  using Wake = std::pair<std::int64_t, Caller*>;
  std::priority_queue<Wake, std::vector<Wake>, std::greater<>> waiting_;
  Totals totals_;
  std::string request_;
  std::int64_t begun_ = 0;
  std::uint64_t asked_for_ = 0;
  std::uint64_t reported_ = 0;
  int epoll_ = -1;
};

}  // namespace

int main(int argc, char** argv) {
  Load load(read_options(bench::Flags(argc, argv)));
  load.run();
  load.report();
}
