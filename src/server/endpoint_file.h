#pragma once
// Keeps in the data folder which aliases each model has had, over restarts.

#include <filesystem>
#include <memory>

#include "catalog/catalog.h"
#include "catalog/endpoint_history.h"

namespace quern {

/// Threads: one at a time.
class EndpointFile {
 public:
  /// The file may be missing. One that cannot be read is logged, and counts as empty.
  explicit EndpointFile(std::filesystem::path file);

  /// What is known with this catalog's aliases. On the disk on return, unless that fails, which is logged: then the
  /// next call that has news writes all of it.
  std::shared_ptr<const EndpointHistory> take_in(const Catalog& catalog);

 private:
  std::filesystem::path file_;
  EndpointHistory history_;
};

}  // namespace quern
