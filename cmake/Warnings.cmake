# Flags that every target of ours is built with.
add_library(quern_flags INTERFACE)
# Designated initialisers leave out what has its default: no warning for that.
target_compile_options(quern_flags INTERFACE -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Werror
                                             -Wno-missing-field-initializers)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # g++ 12 warns wrongly about freed and uninitialised memory inside inlined library code.
  target_compile_options(quern_flags INTERFACE -Wno-maybe-uninitialized -Wno-restrict
                                               -Wno-stringop-overflow -Wno-array-bounds)
endif()
target_compile_definitions(quern_flags INTERFACE QUERN_VERSION="${PROJECT_VERSION}")
target_include_directories(quern_flags INTERFACE "${CMAKE_SOURCE_DIR}/src" "${CMAKE_SOURCE_DIR}/include")
if(QUERN_SANITIZE)
  target_compile_options(quern_flags INTERFACE -fsanitize=${QUERN_SANITIZE} -fno-omit-frame-pointer)
  target_link_options(quern_flags INTERFACE -fsanitize=${QUERN_SANITIZE})
  if(QUERN_SANITIZE MATCHES "undefined")
    target_compile_options(quern_flags INTERFACE -fno-sanitize-recover=undefined)
  endif()
endif()
