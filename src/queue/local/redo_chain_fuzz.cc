// Any bytes as a file of the redo log. The first few records of what looks like a chain get the
// checksums that they would need, so that what is behind the first is reached.

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>

#include "base/assert.h"
#include "queue/local/redo_chain.h"

namespace quern {
namespace {

constexpr std::uint64_t kSeed = 17;

/// The first `count` records, as far as lengths lead to them.
void mend(std::string& bytes, unsigned count) {
  RedoPlace place{.seed = kSeed};
  for (; count > 0 && place.at + sizeof(RedoHeader) <= bytes.size(); --count) {
    RedoHeader header;
    std::memcpy(&header, bytes.data() + place.at, sizeof(RedoHeader));
    const std::uint64_t room = bytes.size() - place.at - sizeof(RedoHeader);
    if (header.length > room) return;
    if (place.at == 0) place.number = header.number;
    const std::string_view content(bytes.data() + place.at + sizeof(RedoHeader), header.length);
    header = make_redo_header(place, content);
    std::memcpy(bytes.data() + place.at, &header, sizeof(RedoHeader));
    place = place.behind(header);
  }
}

void read(const std::string& bytes) {
  const RedoFile file{.fd = ::memfd_create("redo", MFD_CLOEXEC), .size = bytes.size()};
  QUERN_ASSERT(file.fd >= 0);
  QUERN_ASSERT(::pwrite(file.fd, bytes.data(), bytes.size(), 0) ==
               static_cast<ssize_t>(bytes.size()));
  RedoReader reader(file);
  const Result<RedoChain> chain = find_redo_chain(reader, kSeed);
  QUERN_ASSERT(chain);
  QUERN_ASSERT(chain->next.at <= file.size && chain->last_at <= chain->next.at);
  // Each of its records is found again, the last one too.
  RedoPlace place{.seed = kSeed};
  auto gap = chain->gaps.begin();
  std::uint64_t last = 0;
  bool is_first = true;
  while (place.at < chain->next.at) {
    const auto found = *reader.find(place);
    if (gap != chain->gaps.end() && gap->begin.at == place.at) {
      QUERN_ASSERT(!found && gap->end.at > place.at);
      place = gap++->end;
      continue;
    }
    QUERN_ASSERT(found && (place.at == 0 || found->header.number == place.number));
    QUERN_ASSERT(!std::exchange(is_first, false) || found->header.number == chain->first);
    last = found->header.number;
    place = place.behind(found->header);
  }
  QUERN_ASSERT(place.at == chain->next.at && gap == chain->gaps.end() && last == chain->last());
  ::close(file.fd);
}

}  // namespace
}  // namespace quern

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  std::string bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  quern::mend(bytes, data[0]);
  quern::read(bytes);
  return 0;
}
