// Speaks a sentence: the client library in ten lines. QUERN_URL and QUERN_KEY say where and who.
#include <quern/client.h>

#include <cstdio>
#include <cstdlib>

int main() {
  quern::Client client({.url = std::getenv("QUERN_URL"), .key = std::getenv("QUERN_KEY")});
  auto task = client.submit("speech", R"({"prompt":"Hello from the client library"})");
  if (!task) return std::fprintf(stderr, "%s\n", task.error().message.c_str()), 1;
  auto result = client.wait(*task);
  if (!result) return std::fprintf(stderr, "%s\n", result.error().message.c_str()), 1;
  for (const quern::ResultOutput& output : result->outputs) {
    auto saved = client.save(output, ".");
    if (!saved) return std::fprintf(stderr, "%s\n", saved.error().message.c_str()), 1;
    std::printf("saved %s\n", saved->path.c_str());
  }
}
