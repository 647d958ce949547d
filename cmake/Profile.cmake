# QUERN_PROFILE: `record` makes programs that count what their code does and leave that in build/counts when they end;
# `use` compiles by those counts. scripts/tune does both, with a load between them.
set(QUERN_PROFILE "" CACHE STRING "record: count what the code does; use: compile by the counts")
if(QUERN_PROFILE)
  set(counts "${CMAKE_SOURCE_DIR}/build/counts")
  # Counts are named by the object file's path below its build folder, so that another build finds them.
  target_compile_options(quern_flags INTERFACE "-fprofile-prefix-path=${CMAKE_BINARY_DIR}")
  if(QUERN_PROFILE STREQUAL "record")
    target_compile_options(quern_flags INTERFACE "-fprofile-generate=${counts}" -fprofile-update=prefer-atomic)
    target_link_options(quern_flags INTERFACE "-fprofile-generate=${counts}")
  elseif(QUERN_PROFILE STREQUAL "use")
    # What the load did not reach is compiled as without counts, not for size. A function that ends its process leaves counts
    # that do not add up, and a warning.
    target_compile_options(quern_flags INTERFACE "-fprofile-use=${counts}" -fprofile-partial-training -Wno-missing-profile
                                                 -Wno-error)
  else()
    message(FATAL_ERROR "QUERN_PROFILE is '${QUERN_PROFILE}': record, use or nothing")
  endif()
endif()
