#pragma once
// quern admin: tasks of every key, and models, on the running server. Needs a key with `admin`.

#include <cstdint>
#include <string>

#include "cli/session.h"

namespace quern {

inline constexpr std::uint32_t kListedMax = 100'000;  // tasks of one `admin list`

/// Which tasks are meant; every field narrows, but for those that were left out, which are empty.
struct AdminFilter {
  std::string owner;  // a key's id
  std::string model;
  std::string state;   // names separated by commas
  std::string age;     // submitted at least that long ago: "10m"
  std::string before;  // list: older than this request, for paging
};

struct AdminFlags {
  AdminFilter filter;
  std::uint32_t limit = 100;  // list: tasks shown
  bool all = false;           // cancel: every task, when nothing narrows
  std::string target;         // a request's id, or a model
};

ExitCode admin_list_verb(const SessionFlags& session, const AdminFlags& flags);
ExitCode admin_show_verb(const SessionFlags& session, const AdminFlags& flags);
ExitCode admin_retry_verb(const SessionFlags& session, const AdminFlags& flags);
/// Goes on until no task that matches is left unasked; the server takes a thousand at a time.
ExitCode admin_cancel_verb(const SessionFlags& session, const AdminFlags& flags);
ExitCode admin_purge_verb(const SessionFlags& session, const AdminFlags& flags);
ExitCode admin_pause_verb(const SessionFlags& session, const AdminFlags& flags);
ExitCode admin_resume_verb(const SessionFlags& session, const AdminFlags& flags);

}  // namespace quern
