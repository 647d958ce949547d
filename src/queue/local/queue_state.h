#pragma once
// What callers and the commit thread share: the core, the names, and whether the store can be
// written.

#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "queue/core.h"
#include "queue/local/name_table.h"

namespace quern {

struct QueueState {
  struct ModelFlags {
    bool served = false;  // in the present policy
    bool paused = false;
  };

  /// Guards everything here. Only the commit thread changes it, so that thread reads without the
  /// lock; it holds the lock for a few commands at a time and never around a disk write.
  std::mutex mutex;
  QueueCore core;
  NameTable<KeyIndex> keys;
  NameTable<ModelIndex> models;
  std::vector<ModelFlags> model_flags;  // by ModelIndex
  /// Why the store takes no writes; nothing: it does.
  std::optional<Error> write_failure;

  [[nodiscard]] bool is_served(ModelIndex model) const {
    const auto at = static_cast<std::size_t>(model);
    return at < model_flags.size() && model_flags[at].served;
  }
  /// The task exists for this caller: it is of the key and the model that the caller may see.
  [[nodiscard]] bool is_visible(const TaskRow& row, const TaskRef& ref) const {
    return (ref.key.empty() || keys.name(row.key) == ref.key) &&
           (ref.model.empty() || models.name(row.model) == ref.model);
  }
};

}  // namespace quern
