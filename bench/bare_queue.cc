// quern_bench_bare --dir FOLDER --key SECRET: a prototype like the one that Quern's goals were set by, as little as a durable
// queue over HTTP can be. One thread speaks HTTP over epoll, checks the key and that the body is JSON, and keeps the tasks'
// states in a map; another commits what has gathered to SQLite in one transaction, synced, before the answers go out.
// No schema, no limits, no fairness, no positions, nothing that ends.
//
//   POST /v1/queue/MODEL   creates a task
//   GET /commits           {"commits": N}, the transactions so far
//
// Only what the loads here send is understood, one request at a time on a connection. Prints "listening on URL".

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <sqlite3.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <boost/json/parse.hpp>
#include <boost/json/static_resource.hpp>
#include <condition_variable>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <unordered_map>
#include <utility>
#include <vector>

#include "load/flags.h"
#include "load/http_socket.h"

namespace {

constexpr int kEventsMax = 128;
constexpr std::size_t kTasksExpected = 4'000'000;  // no rehash while it is measured
/// Of the write-ahead log, before SQLite moves it into the database: fewer moves for the commits to wait for.
constexpr const char* kPragmas =
    "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA wal_autocheckpoint=20000;"
    "CREATE TABLE task (id INTEGER PRIMARY KEY, model TEXT, input BLOB)";

enum class State : std::uint8_t { queued };

struct Create {
  int connection = 0;
  std::int64_t id = 0;
  std::string model;
  std::string input;
};

void check(int code, sqlite3* database) {
  if (code == SQLITE_OK || code == SQLITE_DONE) return;
  std::fprintf(stderr, "SQLite: %s\n", sqlite3_errmsg(database));
  std::exit(1);
}

// ---- the thread that commits

class Commits {
 public:
  explicit Commits(const std::string& folder) {
    check(sqlite3_open((folder + "/bare.sqlite").c_str(), &database_), database_);
    check(sqlite3_exec(database_, kPragmas, nullptr, nullptr, nullptr), database_);
    begin_ = prepare("BEGIN");
    insert_ = prepare("INSERT INTO task VALUES (?, ?, ?)");
    commit_ = prepare("COMMIT");
    std::thread([this] { loop(); }).detach();
  }

  void push(Create&& create) {
    bool wakes = false;
    {
      const std::scoped_lock lock(mutex_);
      wakes = waiting_.empty();
      waiting_.push_back(std::move(create));
    }
    if (wakes) wake_.notify_one();
  }
  /// What has been committed since the last call.
  void take(std::vector<Create>& done) {
    const std::scoped_lock lock(mutex_);
    done.swap(done_);
  }
  [[nodiscard]] int ready() const { return ready_; }
  [[nodiscard]] std::uint64_t count() const { return count_; }

 private:
  sqlite3_stmt* prepare(const char* sql) {
    sqlite3_stmt* statement = nullptr;
    check(sqlite3_prepare_v3(database_, sql, -1, SQLITE_PREPARE_PERSISTENT, &statement, nullptr),
          database_);
    return statement;
  }
  void run(sqlite3_stmt* statement) {
    check(sqlite3_step(statement), database_);
    sqlite3_reset(statement);
  }
  void loop() {
    for (std::vector<Create> batch;; batch.clear()) {
      {
        std::unique_lock lock(mutex_);
        wake_.wait(lock, [this] { return !waiting_.empty(); });
        batch.swap(waiting_);
      }
      write(batch);
      ++count_;
      {
        const std::scoped_lock lock(mutex_);
        for (Create& create : batch) done_.push_back(std::move(create));
      }
      ::eventfd_write(ready_, 1);
    }
  }
  void write(const std::vector<Create>& batch) {
    run(begin_);
    for (const Create& create : batch) {
      sqlite3_bind_int64(insert_, 1, create.id);
      sqlite3_bind_text(insert_, 2, create.model.data(), static_cast<int>(create.model.size()),
                        SQLITE_STATIC);
      sqlite3_bind_blob(insert_, 3, create.input.data(), static_cast<int>(create.input.size()),
                        SQLITE_STATIC);
      run(insert_);
    }
    run(commit_);
  }

  sqlite3* database_ = nullptr;
  sqlite3_stmt* begin_ = nullptr;
  sqlite3_stmt* insert_ = nullptr;
  sqlite3_stmt* commit_ = nullptr;
  const int ready_ = ::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  std::atomic<std::uint64_t> count_{0};
  std::mutex mutex_;  // guards what follows
  std::condition_variable wake_;
  std::vector<Create> waiting_;
  std::vector<Create> done_;
};

// ---- the thread that speaks HTTP

class Server {
 public:
  Server(Commits& commits, const std::string& key)
      : commits_(commits), authorization_("Authorization: Key " + key + "\r\n") {
    states_.reserve(kTasksExpected);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = ::htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    auto* const any = reinterpret_cast<sockaddr*>(&address);
    if (::bind(listener_, any, size) != 0 || ::listen(listener_, 1024) != 0)
      bench::fail("cannot listen");
    ::getsockname(listener_, any, &size);
    url_ = "http://127.0.0.1:" + std::to_string(::ntohs(address.sin_port));
    watch(listener_);
    watch(commits_.ready());
    std::printf("listening on %s\n", url_.c_str());
    std::fflush(stdout);
  }

  [[noreturn]] void serve() {
    std::array<epoll_event, kEventsMax> events{};
    for (;;) {
      const int count = ::epoll_wait(set_, events.data(), kEventsMax, -1);
      for (int i = 0; i < count; ++i) {
        const int fd = events[static_cast<std::size_t>(i)].data.fd;
        if (fd == listener_) {
          accept();
        } else if (fd == commits_.ready()) {
          answer_committed();
        } else {
          read(fd);
        }
      }
    }
  }

 private:
  void watch(int fd) {
    epoll_event event{.events = EPOLLIN, .data = {.fd = fd}};
    if (::epoll_ctl(set_, EPOLL_CTL_ADD, fd, &event) != 0) bench::fail("cannot watch a socket");
  }
  void accept() {
    const int fd = ::accept4(listener_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) return;
    const int on = 1;
    ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    buffers_[fd].clear();
    watch(fd);
  }
  void read(int fd) {
    std::array<char, 8192> bytes;  // NOLINT: filled by the read
    const ssize_t size = ::recv(fd, bytes.data(), bytes.size(), 0);
    if (size <= 0) {
      ::close(fd);
      return;
    }
    std::string& in = buffers_[fd];
    in.append(bytes.data(), static_cast<std::size_t>(size));
    const std::size_t head_end = in.find("\r\n\r\n");
    if (head_end == std::string::npos) return;
    const std::string_view head = std::string_view(in).substr(0, head_end + 2);
    const std::size_t length = body_length(head);
    if (in.size() < head_end + 4 + length) return;
    handle(fd, head, std::string_view(in).substr(head_end + 4, length));
    in.clear();
  }
  static std::size_t body_length(std::string_view head) {
    constexpr std::string_view kName = "Content-Length: ";
    const std::size_t at = head.find(kName);
    return at == std::string_view::npos
               ? 0
               : std::strtoul(head.data() + at + kName.size(), nullptr, 10);
  }
  void handle(int fd, std::string_view head, std::string_view body) {
    constexpr std::string_view kCreate = "POST /v1/queue/";
    if (head.starts_with("GET /commits ")) {
      return answer(fd, "200 OK", "{\"commits\":" + std::to_string(commits_.count()) + "}");
    }
    if (head.find(authorization_) == std::string_view::npos)
      return answer(fd, "401 Unauthorized", "{}");
    if (!head.starts_with(kCreate)) return answer(fd, "404 Not Found", "{}");
    if (!is_json_object(body)) return answer(fd, "400 Bad Request", "{}");
    const std::string_view model =
        head.substr(kCreate.size(), head.find(' ', kCreate.size()) - kCreate.size());
    commits_.push(
        {.connection = fd, .id = ++last_, .model = std::string(model), .input = std::string(body)});
  }
  static bool is_json_object(std::string_view body) {
    std::array<unsigned char, 4096> memory;  // NOLINT: filled by the parser
    boost::json::static_resource resource(memory.data(), memory.size());
    boost::system::error_code error;
    const boost::json::value value = boost::json::parse(body, error, &resource);
    return !error && value.is_object();
  }
  void answer_committed() {
    eventfd_t ignored = 0;
    ::eventfd_read(commits_.ready(), &ignored);
    commits_.take(done_);
    for (const Create& create : done_) {
      states_.emplace(create.id, State::queued);
      const std::string request =
          url_ + "/v1/queue/" + create.model + "/requests/" + std::to_string(create.id);
      answer(create.connection, "200 OK",
             "{\"status\":\"IN_QUEUE\",\"request_id\":\"" + std::to_string(create.id) +
                 "\",\"response_url\":\"" + request + "/response\",\"status_url\":\"" + request +
                 "/status\",\"cancel_url\":\"" + request + "/cancel\"}");
    }
    done_.clear();
  }
  void answer(int fd, std::string_view status, const std::string& body) {
    out_.assign("HTTP/1.1 ")
        .append(status)
        .append("\r\nContent-Type: application/json\r\nContent-Length: ");
    out_.append(std::to_string(body.size())).append("\r\n\r\n").append(body);
    if (::send(fd, out_.data(), out_.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(out_.size()))
      ::close(fd);
  }

  Commits& commits_;
  const std::string authorization_;
  const int listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  const int set_ = ::epoll_create1(EPOLL_CLOEXEC);
  std::string url_;
  std::unordered_map<int, std::string> buffers_;    // by connection
  std::unordered_map<std::int64_t, State> states_;  // by task
  std::int64_t last_ = 0;
  std::vector<Create> done_;
  std::string out_;
};

}  // namespace

int main(int argc, char** argv) {
  const bench::Flags flags(argc, argv);
  Commits commits(flags.text("--dir"));
  Server(commits, flags.text("--key")).serve();
}
