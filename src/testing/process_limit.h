#pragma once
// What a machine that is short of something allows this process.

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <csignal>
#include <cstddef>
#include <vector>

namespace quern {

/// Holds this process to a limit, such as RLIMIT_NOFILE, while it lives.
class ProcessLimit {
 public:
  using Which = decltype(RLIMIT_NOFILE);

  ProcessLimit(Which which, rlim_t value) : which_(which) {
    ::getrlimit(which_, &before_);
    const rlimit limit{.rlim_cur = value, .rlim_max = before_.rlim_max};
    ::setrlimit(which_, &limit);
  }
  ~ProcessLimit() { ::setrlimit(which_, &before_); }
  ProcessLimit(const ProcessLimit&) = delete;
  ProcessLimit& operator=(const ProcessLimit&) = delete;

 private:
  Which which_;
  rlimit before_{};
};

/// This process may open `count` descriptors more.
class DescriptorsLeft {
 public:
  explicit DescriptorsLeft(std::size_t count) : limit_(RLIMIT_NOFILE, number_behind(count)) {}

 private:
  // The limit is one of their numbers: those that come next need not follow one another.
  static rlim_t number_behind(std::size_t count) {
    std::vector<int> next;
    while (next.size() < count) next.push_back(::open("/dev/null", O_RDONLY | O_CLOEXEC));
    for (const int fd : next) ::close(fd);
    return next.empty() ? 0 : static_cast<rlim_t>(next.back()) + 1;
  }

  ProcessLimit limit_;
};

/// No file of this process grows beyond `bytes`.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes)
      : handler_(std::signal(SIGXFSZ, SIG_IGN)), limit_(RLIMIT_FSIZE, bytes) {}
  ~FileSizeLimit() { std::signal(SIGXFSZ, handler_); }
  FileSizeLimit(const FileSizeLimit&) = delete;
  FileSizeLimit& operator=(const FileSizeLimit&) = delete;

 private:
  void (*handler_)(int);
  ProcessLimit limit_;
};

}  // namespace quern
