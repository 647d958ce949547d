#include "queue/local/body_cache.h"

#include <algorithm>
#include <span>
#include <utility>

#include "base/assert.h"

namespace quern {
namespace {

/// Large enough for glibc to map it by itself, so that it goes back to the system when it is freed.
constexpr std::size_t kSlabBytes = 256 * 1024;
/// A body takes no more than this part of the whole, nor does a slab, but for one large body's.
constexpr std::size_t kParts = 8;

}  // namespace

// ---- a slab

BodyCache::Slab::Slab(std::size_t bytes)
    : memory_(std::make_unique_for_overwrite<Entry[]>(bytes / sizeof(Entry))),
      bytes_(bytes),
      bodies_begin_(bytes) {}

bool BodyCache::Slab::has_room(std::size_t body_bytes) const {
  return bodies_begin_ - count_ * sizeof(Entry) >= body_bytes + sizeof(Entry);
}

void BodyCache::Slab::add(std::int64_t sequence, std::string_view body) {
  bodies_begin_ -= body.size();
  char* const place = reinterpret_cast<char*>(memory_.get()) + bodies_begin_;
  std::copy(body.begin(), body.end(), place);
  memory_[count_] = {sequence, static_cast<std::uint32_t>(bodies_begin_),
                     static_cast<std::uint32_t>(body.size())};
  ++count_;
  ++left_;
}

std::optional<std::string> BodyCache::Slab::take(std::int64_t sequence) {
  Entry* const entry = find(sequence);
  if (entry == nullptr || entry->size == kTaken) return std::nullopt;
  const char* const place = reinterpret_cast<const char*>(memory_.get()) + entry->offset;
  std::optional<std::string> body(std::in_place, place, entry->size);
  entry->size = kTaken;
  --left_;
  return body;
}

/// Most are taken in the order they were put.
BodyCache::Entry* BodyCache::Slab::find(std::int64_t sequence) {
  const std::span<Entry> entries(memory_.get(), count_);
  if (next_ == count_ || entries[next_].sequence != sequence) {
    const auto found = std::ranges::lower_bound(entries, sequence, {}, &Entry::sequence);
    if (found == entries.end() || found->sequence != sequence) return nullptr;
    next_ = static_cast<std::size_t>(found - entries.begin());
  }
  return &entries[next_++];
}

void BodyCache::Slab::clear() {
  bodies_begin_ = bytes_;
  count_ = left_ = next_ = 0;
}

// ---- the cache

BodyCache::BodyCache(std::size_t bytes_max)
    : bytes_max_(bytes_max),
      // Whole entries.
      slab_bytes_(std::min(kSlabBytes, bytes_max / kParts / sizeof(Entry) * sizeof(Entry))) {
  QUERN_ASSERT(bytes_max / kParts < kTaken / 2);
}

void BodyCache::put(const TaskId& id, std::string_view body) {
  QUERN_ASSERT(id.sequence() > last_);
  last_ = id.sequence();
  if (body.size() + sizeof(Entry) > bytes_max_ / kParts) return;
  if (slabs_.empty() || !slabs_.back().has_room(body.size())) add_slab(body.size());
  slabs_.back().add(last_, body);
}

std::optional<std::string> BodyCache::take(const TaskId& id) {
  const std::int64_t sequence = id.sequence();
  const auto after = std::ranges::upper_bound(slabs_, sequence, {}, &Slab::first);
  if (after == slabs_.begin()) return std::nullopt;
  const auto slab = std::prev(after);
  std::optional<std::string> body = slab->take(sequence);
  if (body && slab->is_spent()) remove_slab(static_cast<std::size_t>(slab - slabs_.begin()));
  return body;
}

void BodyCache::add_slab(std::size_t body_bytes) {
  // A large body's slab is a multiple of the others, so that what comes after it has room there too.
  const std::size_t parts = (body_bytes + sizeof(Entry) + slab_bytes_ - 1) / slab_bytes_;
  const std::size_t bytes = parts * slab_bytes_;
  for (;;) {
    if (spare_ && parts == 1) {
      slabs_.push_back(*std::move(spare_));
      spare_.reset();
      return;
    }
    if (bytes_ + bytes <= bytes_max_) break;
    if (spare_) {
      bytes_ -= spare_->bytes();
      spare_.reset();
    } else {
      remove_slab(0);
    }
  }
  slabs_.emplace_back(bytes);
  bytes_ += bytes;
}

void BodyCache::remove_slab(std::size_t index) {
  Slab slab = std::move(slabs_[index]);
  slabs_.erase(slabs_.begin() + static_cast<std::ptrdiff_t>(index));
  if (spare_ || slab.bytes() != slab_bytes_) {
    bytes_ -= slab.bytes();
    return;
  }
  slab.clear();
  spare_.emplace(std::move(slab));
}

}  // namespace quern
