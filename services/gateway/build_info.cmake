cmake_minimum_required(VERSION 3.25)
# Writes OUTPUT, a header that names the commit of SOURCE and its time; leaves it alone if it says so already, so
# that nothing is compiled again. The commit's time, not this build's: the same source makes the same program.
# SOURCE_DATE_EPOCH and RQ_COMMIT (environment) say it for a source without git.
set(commit "$ENV{RQ_COMMIT}")
set(epoch "$ENV{SOURCE_DATE_EPOCH}")
set(time "unknown")
if(commit STREQUAL "" AND EXISTS ${SOURCE}/.git)
  execute_process(COMMAND git -C ${SOURCE} rev-parse HEAD OUTPUT_VARIABLE commit ERROR_QUIET OUTPUT_STRIP_TRAILING_WHITESPACE)
  execute_process(COMMAND git -C ${SOURCE} log -1 --format=%ct OUTPUT_VARIABLE committed ERROR_QUIET OUTPUT_STRIP_TRAILING_WHITESPACE)
  if(epoch STREQUAL "")
    set(epoch "${committed}")
  endif()
endif()
if(epoch MATCHES "^[0-9]+$")
  set(ENV{SOURCE_DATE_EPOCH} ${epoch})
  string(TIMESTAMP time "%Y-%m-%dT%H:%M:%SZ" UTC)
endif()
if(NOT commit MATCHES "^[0-9a-f]+$")
  set(commit "unknown")
endif()
file(CONFIGURE OUTPUT ${OUTPUT} @ONLY CONTENT
"/* Made by build_info.cmake. */
#define BUILD_COMMIT \"@commit@\"
#define BUILD_TIME \"@time@\"
#define BUILD_COMPILER \"@COMPILER@\"
")
