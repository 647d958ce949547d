// quern_bench_fdatasync --dir FOLDER --seconds N [--pause_us N]: how long one write of 4 KiB with its
// fdatasync takes on the disk under FOLDER, each that long after the one before. The file has its size
// before, so that this is the least a durable change can cost.

#include <fcntl.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <string>
#include <thread>
#include <vector>

#include "load/flags.h"
#include "load/http_socket.h"
#include "load/timing.h"

namespace {

constexpr std::size_t kPageBytes = 4096;
constexpr std::size_t kPages = 1024;

void write_page(int fd, const std::vector<char>& page, std::size_t at) {
  const auto offset = static_cast<off_t>(at * kPageBytes);
  if (::pwrite(fd, page.data(), page.size(), offset) != static_cast<ssize_t>(page.size()))
    bench::fail("write");
}

}  // namespace

int main(int argc, char** argv) {
  const bench::Flags flags(argc, argv);
  const std::string path = flags.text("--dir") + "/fdatasync";
  const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd < 0) bench::fail("open");
  ::unlink(path.c_str());
  std::vector<char> page(kPageBytes, 'x');
  for (std::size_t i = 0; i < kPages; ++i) write_page(fd, page, i);
  if (::fsync(fd) != 0) bench::fail("fsync");

  const auto end = bench::now_ns() + static_cast<std::int64_t>(flags.number("--seconds") * 1e9);
  const std::chrono::microseconds pause(static_cast<std::int64_t>(flags.number("--pause_us", 0)));
  std::vector<std::int64_t> took;
  while (bench::now_ns() < end) {
    if (pause.count() > 0) std::this_thread::sleep_for(pause);
    const std::int64_t begun = bench::now_ns();
    page[0] = static_cast<char>(took.size());
    write_page(fd, page, took.size() % kPages);
    if (::fdatasync(fd) != 0) bench::fail("fdatasync");
    took.push_back(bench::now_ns() - begun);
  }
  std::printf("{\"count\":%zu,\"p50_ms\":%.4f,\"p99_ms\":%.4f,\"wait_p99_ms\":%.4f}\n", took.size(),
              bench::percentile_ms(took, 0.5), bench::percentile_ms(took, 0.99),
              bench::wait_percentile_ms(took, 0.99));
}
