// quern_sim [--seed N] [--histories N]: runs histories with the seeds N, N + 1, …; ends at the
// first failure.

#include <charconv>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <string_view>

#include "check.h"
#include "history.h"

namespace {

using namespace quern::sim;

bool parse(std::string_view text, std::uint64_t& out) {
  const char* end = text.data() + text.size();
  const auto [at, error] = std::from_chars(text.data(), end, out);
  return error == std::errc{} && at == end;
}

bool run_history(std::uint64_t seed, Tally& tally) {
  History history(seed, tally);
  try {
    history.run();
    return true;
  } catch (const Failure& failure) {
    std::printf("FAILED: seed %llu, step %llu: broken promise: %s\n",
                static_cast<unsigned long long>(seed),
                static_cast<unsigned long long>(history.step()), failure.what());
    return false;
  }
}

void print(const Tally& tally, std::uint64_t seed, std::uint64_t histories, double seconds) {
  const std::pair<const char*, std::uint64_t> counts[] = {
      {"steps", tally.steps},         {"submitted", tally.submitted},
      {"refused", tally.refused},     {"claimed", tally.claimed},
      {"gave way", tally.gave_way},   {"succeeded", tally.succeeded},
      {"failed", tally.failed},       {"canceled", tally.canceled},
      {"requeued", tally.retried},    {"stale", tally.stale},
      {"lost", tally.lost},           {"commits", tally.commits},
      {"rollbacks", tally.rollbacks}, {"crashes", tally.crashes}};
  std::printf("seeds %llu to %llu in %.1f s:", static_cast<unsigned long long>(seed),
              static_cast<unsigned long long>(seed + histories - 1), seconds);
  for (const auto& [name, count] : counts) {
    std::printf(" %s %llu", name, static_cast<unsigned long long>(count));
  }
  std::printf("\n");
}

}  // namespace

int main(int argc, char** argv) {
  std::uint64_t seed = 1;
  std::uint64_t histories = 1'000;
  for (int i = 1; i < argc; i += 2) {
    const std::string_view name = argv[i];
    std::uint64_t* value = name == "--seed" ? &seed : name == "--histories" ? &histories : nullptr;
    if (value == nullptr || i + 1 == argc || !parse(argv[i + 1], *value)) {
      std::fprintf(stderr, "usage: quern_sim [--seed N] [--histories N]\n");
      return 2;
    }
  }

  const auto started = std::chrono::steady_clock::now();
  Tally tally;
  for (std::uint64_t i = 0; i < histories; ++i) {
    if (!run_history(seed + i, tally)) return 1;
  }
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - started;
  print(tally, seed, histories, took.count());
  return 0;
}
