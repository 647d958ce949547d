// The one binary: `quern serve` is the server, every other verb is a client of one.

#include <fcntl.h>
#include <unistd.h>

#include <string_view>

#include "artifact/measure_process.h"
#include "cli/cli.h"
#include "server/serve.h"

namespace {

// Whoever is started without the standard descriptors opens a file of its own under their numbers, and prints into it.
void open_standard_descriptors() {
  int fd = 0;
  do {
    fd = ::open("/dev/null", O_RDWR);
  } while (fd >= 0 && fd <= STDERR_FILENO);
  if (fd > STDERR_FILENO) ::close(fd);
}

}  // namespace

int main(int argc, char** argv) {
  open_standard_descriptors();
  if (argc == 2 && argv[1] == quern::kMeasureVerb) return quern::run_measure_process();
  return quern::run_cli(argc, argv, [](const quern::ServeFlags& flags) {
    return quern::serve({.config = flags.config,
                         .listen = flags.listen,
                         .data = flags.data,
                         .settings = flags.settings});
  });
}
