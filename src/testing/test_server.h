#pragma once
// The real `quern` binary on a port of its own, for tests of the whole. Ends only the process it
// started, by its id.

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <optional>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "base/assert.h"

extern char** environ;

namespace quern {

class TestServer {
 public:
  /// `binary`: the path of `quern`. The configuration is written to `folder`/quern.toml with
  /// `listen` on port 0 put in front; its log goes to `folder`/server.log.
  TestServer(std::filesystem::path binary, std::filesystem::path folder,
             std::string_view config_after_server = "", std::string_view server_keys = "")
      : binary_(std::move(binary)), folder_(std::move(folder)) {
    write_config(config_after_server, server_keys);
  }
  ~TestServer() { kill(); }
  TestServer(const TestServer&) = delete;
  TestServer& operator=(const TestServer&) = delete;

  /// "NAME=value" for the servers that start from now on, before what they inherit.
  void set_environment(std::vector<std::string> variables) { environment_ = std::move(variables); }

  void write_config(std::string_view config_after_server, std::string_view server_keys = "") {
    std::ofstream file(folder_ / "quern.toml");
    file << "[server]\nlisten = \"127.0.0.1:" << port_ << "\"\n"
         << server_keys << '\n'
         << config_after_server;
  }

  /// Starts it and waits until it listens. False (with log() to tell why) if it ended instead, or
  /// took over `patience`.
  [[nodiscard]] bool start(std::chrono::seconds patience = std::chrono::seconds{60}) {
    int out[2];
    QUERN_ASSERT(::pipe2(out, O_CLOEXEC) == 0);
    spawn(out[1]);
    ::close(out[1]);
    const bool listening = read_listening_line(out[0], patience);
    out_ = out[0];
    return listening;
  }

  [[nodiscard]] const std::string& url() const { return url_; }  // "http://127.0.0.1:40123"
  [[nodiscard]] int port() const { return port_; }
  [[nodiscard]] pid_t pid() const { return pid_; }
  [[nodiscard]] bool is_running() const {
    siginfo_t ended{};  // waitid alone can look without reaping
    return pid_ > 0 &&
           ::waitid(P_PID, static_cast<id_t>(pid_), &ended, WEXITED | WNOHANG | WNOWAIT) == 0 &&
           ended.si_pid == 0;
  }

  void signal(int number) const { QUERN_ASSERT(pid_ > 0 && ::kill(pid_, number) == 0); }

  /// SIGKILL, as a power cut would.
  void kill() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    (void)reap();
  }
  /// SIGTERM, then waits for the end; the exit code, or 128 + the signal that ended it.
  int terminate() {
    signal(SIGTERM);
    return reap();
  }
  /// Waits for the end.
  int reap() {
    int status = 0;
    while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
    }
    pid_ = -1;
    if (out_ >= 0) ::close(out_);
    out_ = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }

  [[nodiscard]] std::string log() const {
    std::ifstream file(folder_ / "server.log");
    std::ostringstream text;
    text << file.rdbuf();
    return text.str();
  }

 private:
  void spawn(int out) {
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO);
    posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, (folder_ / "server.log").c_str(),
                                     O_WRONLY | O_CREAT | O_APPEND, 0600);
    const std::string config = (folder_ / "quern.toml").string();
    std::vector<std::string> words = {binary_.string(), "serve", "--config", config};
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    std::vector<char*> envp;
    for (std::string& variable : environment_) envp.push_back(variable.data());
    for (char** inherited = environ; *inherited != nullptr; ++inherited) {
      envp.push_back(*inherited);
    }
    envp.push_back(nullptr);
    QUERN_ASSERT(
        ::posix_spawn(&pid_, binary_.c_str(), &actions, nullptr, argv.data(), envp.data()) == 0);
    posix_spawn_file_actions_destroy(&actions);
  }

  bool read_listening_line(int fd, std::chrono::seconds patience) {
    static constexpr std::string_view kPrefix = "listening on ";
    const auto deadline = std::chrono::steady_clock::now() + patience;
    std::string text;
    for (;;) {
      const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
          deadline - std::chrono::steady_clock::now());
      pollfd ready{fd, POLLIN, 0};
      if (left.count() <= 0 || ::poll(&ready, 1, static_cast<int>(left.count())) <= 0) return false;
      char buffer[512];
      const ssize_t got = ::read(fd, buffer, sizeof(buffer));
      if (got <= 0) return false;
      text.append(buffer, static_cast<std::size_t>(got));
      const std::size_t at = text.find(kPrefix);
      const std::size_t end = at == std::string::npos ? at : text.find('\n', at);
      if (end == std::string::npos) continue;
      url_ = text.substr(at + kPrefix.size(), end - at - kPrefix.size());
      port_ = std::stoi(url_.substr(url_.rfind(':') + 1));
      return true;
    }
  }

  std::filesystem::path binary_;
  std::filesystem::path folder_;
  std::vector<std::string> environment_;
  std::string url_;
  int port_ = 0;  // a restart keeps the port
  pid_t pid_ = -1;
  int out_ = -1;
};

}  // namespace quern
