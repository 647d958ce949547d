#include "base/random.h"

#include <pthread.h>
#include <sys/random.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>

#include "base/assert.h"

namespace quern {

std::uint64_t Random::next_u64() {
  std::uint64_t value = 0;
  fill(std::as_writable_bytes(std::span(&value, 1)));
  return value;
}

namespace {

void fill_from_system(std::span<std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t got = ::getrandom(bytes.data(), bytes.size(), 0);
    if (got < 0 && errno == EINTR) continue;
    QUERN_ASSERT(got > 0);
    bytes = bytes.subspan(static_cast<std::size_t>(got));
  }
}

// One system call for many ids. What was handed out is wiped, so no secret is left behind.
struct Pool {
  std::array<std::byte, 1024> bytes;
  std::size_t used = sizeof(bytes);
  unsigned forks = 0;  // when it was filled
};

std::atomic<unsigned> forks{0};  // that led to this process, since it began to ask for chance

// A child has its parent's pool, and is not to hand out the same.
void count_forks() {
  static const int kCounted = ::pthread_atfork(nullptr, nullptr, [] { ++forks; });
  QUERN_ASSERT(kCounted == 0);
}

}  // namespace

void SystemRandom::fill(std::span<std::byte> bytes) {
  if (bytes.empty()) return;
  thread_local Pool pool;
  if (bytes.size() > pool.bytes.size()) return fill_from_system(bytes);
  count_forks();
  if (pool.forks != forks || pool.bytes.size() - pool.used < bytes.size()) {
    fill_from_system(pool.bytes);
    pool.used = 0;
    pool.forks = forks;
  }
  std::byte* from = pool.bytes.data() + pool.used;
  std::memcpy(bytes.data(), from, bytes.size());
  std::memset(from, 0, bytes.size());
  pool.used += bytes.size();
}

std::string random_hex(Random& random, std::size_t bytes) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string text(bytes * 2, '\0');
  random.fill(std::as_writable_bytes(std::span(text)).first(bytes));
  // From the last byte to the first, so that none is overwritten before it was read.
  for (std::size_t i = bytes; i-- > 0;) {
    const auto byte = static_cast<unsigned char>(text[i]);
    text[2 * i] = kDigits[byte >> 4U];
    text[2 * i + 1] = kDigits[byte & 15U];
  }
  return text;
}

}  // namespace quern
