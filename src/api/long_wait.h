#pragma once
// ?wait=SECONDS: the answer is held until the state changes (of a result: until there is one), at
// most so long.

#include "api/call.h"
#include "queue/queue.h"

namespace quern::api {

/// `seen`: the task as it was, not terminal. Answers at once when too many answers are held
/// already. The caller's leaving frees everything; a drain answers.
void hold_answer(CallPtr call, TaskView seen);

}  // namespace quern::api
