# QUERN_NODE: a Node of 20.11 or newer, for the tests that run JavaScript: the machine's, or the one that
# scripts/setup keeps in tools/node where the machine's is older.
set(QUERN_NODE_MIN 20.11)
set(QUERN_NODE_OWN "${CMAKE_SOURCE_DIR}/tools/node/node_modules/.bin")

function(quern_node_is_new_enough result program)
  execute_process(COMMAND "${program}" --version OUTPUT_VARIABLE version ERROR_QUIET
                  OUTPUT_STRIP_TRAILING_WHITESPACE)
  string(REGEX REPLACE "^v" "" version "${version}")
  if(NOT version OR version VERSION_LESS QUERN_NODE_MIN)
    set(${result} FALSE PARENT_SCOPE)
  endif()
endfunction()

# Looked for anew each time: what was found once may be gone, or a better one come.
unset(QUERN_NODE CACHE)
find_program(QUERN_NODE node VALIDATOR quern_node_is_new_enough)
if(NOT QUERN_NODE)
  find_program(QUERN_NODE node PATHS "${QUERN_NODE_OWN}" NO_DEFAULT_PATH
               VALIDATOR quern_node_is_new_enough)
endif()
if(NOT QUERN_NODE)
  message(FATAL_ERROR "The tests need Node ${QUERN_NODE_MIN} or newer: `scripts/setup test` brings one. "
                      "-DQUERN_TESTS=OFF builds without them.")
endif()
get_filename_component(QUERN_NODE_FOLDER "${QUERN_NODE}" DIRECTORY)
message(STATUS "Node for the tests: ${QUERN_NODE}")
