# Debian 12 packages Catch2 version 2, newer systems version 3; it is fetched only where neither is packaged.
find_package(Catch2 QUIET)
if(NOT Catch2_FOUND)
  message(STATUS "eden: no packaged Catch2 (apt-get install catch2), fetching version 3")
  include(FetchContent)
  FetchContent_Declare(Catch2 GIT_REPOSITORY https://github.com/catchorg/Catch2.git GIT_TAG v3.7.1 GIT_SHALLOW ON)
  FetchContent_MakeAvailable(Catch2)
  list(APPEND CMAKE_MODULE_PATH ${catch2_SOURCE_DIR}/extras)
  set(Catch2_VERSION 3.7.1)
endif()
enable_testing()
if(Catch2_VERSION VERSION_LESS 3)
  add_executable(eden_tests tests/csrc/main.cpp ${EDEN_TEST_SOURCES})
  target_link_libraries(eden_tests PRIVATE eden_core Catch2::Catch2)
else()
  add_executable(eden_tests ${EDEN_TEST_SOURCES})
  target_link_libraries(eden_tests PRIVATE eden_core Catch2::Catch2WithMain)
endif()
target_compile_definitions(eden_tests PRIVATE EDEN_CATCH2_MAJOR=$<IF:$<VERSION_LESS:${Catch2_VERSION},3>,2,3>)
target_include_directories(eden_tests PRIVATE tests/csrc tests/csrc/simt)
# What is tested was optimized where it was compiled; the tests themselves need not be.
target_compile_options(eden_tests PRIVATE ${EDEN_WARNINGS} -O1)
target_precompile_headers(eden_tests PRIVATE tests/csrc/catch2.h)
if(EDEN_CCACHE AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  target_compile_options(eden_tests PRIVATE -fpch-preprocess)
endif()
set_source_files_properties(tests/csrc/main.cpp PROPERTIES SKIP_PRECOMPILE_HEADERS ON)
# Its own records are nobody's race, and it is what tells a sanitizer which thread runs.
set_source_files_properties(tests/csrc/simt/simt.cpp PROPERTIES SKIP_PRECOMPILE_HEADERS ON)
if(EDEN_SANITIZE)
  set_source_files_properties(tests/csrc/simt/simt.cpp PROPERTIES COMPILE_OPTIONS -fno-sanitize=all)
endif()
include(Catch)
catch_discover_tests(eden_tests)

# What is compiled for one instruction set alone must not be linked into what every machine runs.
add_test(NAME "instruction sets leave no weak symbols" COMMAND ${CMAKE_COMMAND} -DNM=${CMAKE_NM}
  "-DOBJECTS=${EDEN_ISA_OBJECTS}"
  -P ${CMAKE_CURRENT_SOURCE_DIR}/cmake/check_symbols.cmake)
# The environment variable is read once, so each value takes a process of its own.
foreach(isa baseline avx2 avx512 neon missing)
  add_test(NAME "EDEN_ISA=${isa}" COMMAND eden_tests "the instruction set is the best one or the one asked for")
  set_tests_properties("EDEN_ISA=${isa}" PROPERTIES ENVIRONMENT EDEN_ISA=${isa}
    PASS_REGULAR_EXPRESSION "All tests passed")
endforeach()
if(EDEN_SANITIZE STREQUAL "thread")
  set_source_files_properties(tests/csrc/simt/simt.cpp PROPERTIES COMPILE_DEFINITIONS EDEN_THREAD_SANITIZER)
  # Races that are planted, each of which has to be reported.
  add_test(NAME "planted races are reported" COMMAND eden_tests "[.planted]")
  set_tests_properties("planted races are reported" PROPERTIES
    ENVIRONMENT "TSAN_OPTIONS=exitcode=0:suppress_equal_stacks=0:suppress_equal_addresses=0"
    PASS_REGULAR_EXPRESSION "All tests passed")
endif()
