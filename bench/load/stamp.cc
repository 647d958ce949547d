// quern_bench_stamp FILE: the shortest program a process executor can run. Adds to FILE the time of
// its first line and of its last, in nanoseconds since boot; from one's end to the next's start is
// the cost of a change of task in a slot.

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cstdio>

#include "load/timing.h"

int main(int argc, char** argv) {
  const std::int64_t begun = bench::now_ns();
  if (argc != 2) return 2;
  const int file = ::open(argv[1], O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  if (file < 0) return 1;
  std::array<char, 4096> input{};
  while (::read(STDIN_FILENO, input.data(), input.size()) > 0) {
  }
  static constexpr char kOutput[] = "{\"output\":{\"type\":\"text\",\"text\":\"done\"}}\n";
  if (::write(STDOUT_FILENO, kOutput, sizeof(kOutput) - 1) < 0) return 1;

  std::array<char, 64> line{};
  const int size =
      std::snprintf(line.data(), line.size(), "%lld %lld\n", static_cast<long long>(begun),
                    static_cast<long long>(bench::now_ns()));
  return ::write(file, line.data(), static_cast<std::size_t>(size)) == size ? 0 : 1;
}
