#pragma once
// Status, result and cancel, for both dialects; what differs is in docs/API.md, "The fal dialect".

#include "api/call.h"
#include "queue/queue.h"

namespace quern::api {

/// The task that the path names, on the caller's behalf; nullopt if the id is none.
std::optional<TaskQuery> make_query(const Call& call);
/// Whether the caller's endpoint stands for the task's model (fal); true on the queue mounts, where
/// the look-up itself has the model.
bool is_endpoint_of(const Call& call, const TaskView& view);
/// Answers a status or a result call with the task as it is.
void answer_view(CallPtr call, const TaskView& view);

}  // namespace quern::api
