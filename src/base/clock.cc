#include "base/clock.h"

#include <fmt/format.h>

namespace quern {

Now SystemClock::now() const {
  using std::chrono::microseconds;
  using std::chrono::time_point_cast;
  return {time_point_cast<microseconds>(std::chrono::system_clock::now()),
          time_point_cast<microseconds>(std::chrono::steady_clock::now())};
}

std::string format_rfc3339(WallTime time) {
  using namespace std::chrono;
  const auto day = floor<days>(time);
  const year_month_day date{day};
  const hh_mm_ss clock{time - day};
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:06}Z", static_cast<int>(date.year()),
                     static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()),
                     clock.hours().count(), clock.minutes().count(), clock.seconds().count(),
                     clock.subseconds().count());
}

}  // namespace quern
