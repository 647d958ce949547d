// The one binary: `quern serve` is the server, every other verb is a client of one.

#include "cli/cli.h"
#include "server/serve.h"

int main(int argc, char** argv) {
  return quern::run_cli(argc, argv, [](const quern::ServeFlags& flags) {
    return quern::serve({.config = flags.config,
                         .listen = flags.listen,
                         .data = flags.data,
                         .settings = flags.settings});
  });
}
