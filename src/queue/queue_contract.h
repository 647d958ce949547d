#pragma once
// What every Queue must do, as one suite. A test program includes this in one file and names its
// implementation:
//
//   INSTANTIATE_TEST_SUITE_P(Local, QueueContract, testing::Values(QueueMaker{make_local}),
//   contract_name);

#include "queue/attempt_contract.h"
#include "queue/lookup_contract.h"
#include "queue/submit_contract.h"
