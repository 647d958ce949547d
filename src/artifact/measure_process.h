#pragma once
// Measures of a file, found in a process of their own: libmediainfo can be made to run or to grow without end by
// a hundred bytes, and whoever runs a model, or calls one that passes its input on, can hand it any.

#include <chrono>
#include <string>
#include <string_view>
#include <vector>

#include "artifact/media_measures.h"

namespace quern {

/// Runs the program `command` with the file as its standard input, and reads the line that it answers: what
/// run_measure_process() writes. A file on which it fails, or takes longer than `patience`, has no measures; that is
/// logged. It is killed by then, and when the caller is asked to stop. Runs in a process group of its own. Threads: any.
MeasureMedia measure_by_process(
    std::vector<std::string> command,
    std::chrono::milliseconds patience = std::chrono::milliseconds(15'000));

/// By which a program is asked to be that, as its only argument.
inline constexpr std::string_view kMeasureVerb = "measure-media";

/// The program's side: measures its standard input within 5 s of processor time and 1 GiB of memory, and answers its
/// exit code.
int run_measure_process();

}  // namespace quern
