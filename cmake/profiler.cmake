# eden-profile holds the operators itself and is linked to the LibTorch that it was built with, which the operators of
# the Python package need not be. LibTorch's libraries are named one by one: its own CMake package wants the CUDA
# toolkit where torch is built for CUDA, which neither building nor running this program takes. AUTO leaves the program
# out where something is missing, and says what on standard error, which no log takes.
string(TOUPPER "${EDEN_PROFILER}" EDEN_PROFILER_MODE)
if(NOT EDEN_PROFILER_MODE MATCHES "^(AUTO|ON|OFF)$")
  message(FATAL_ERROR "EDEN_PROFILER=${EDEN_PROFILER}: allowed are AUTO, ON and OFF")
endif()
if(EDEN_PROFILER_MODE STREQUAL "OFF")
  return()
endif()

find_package(nlohmann_json 3.9 QUIET)
find_package(CLI11 2.1 QUIET)
find_package(ZLIB QUIET)
set(EDEN_PROFILER_TORCH "")
foreach(library torch torch_cpu c10 torch_cuda c10_cuda)
  find_library(EDEN_LIBRARY ${library} PATHS "${EDEN_TORCH}/lib" NO_DEFAULT_PATH NO_CACHE)
  if(EDEN_LIBRARY)
    list(APPEND EDEN_PROFILER_TORCH "${EDEN_LIBRARY}")
    set(EDEN_TORCH_HAS_${library} ON)
  endif()
  unset(EDEN_LIBRARY)
endforeach()

set(EDEN_PROFILER_LACKS "")
foreach(need "nlohmann_json_FOUND=nlohmann/json 3.9 (nlohmann-json3-dev)" "CLI11_FOUND=CLI11 2.1 (libcli11-dev)"
             "ZLIB_FOUND=zlib (zlib1g-dev)" "EDEN_TORCH_HAS_torch_cpu=libtorch_cpu in ${EDEN_TORCH}/lib")
  string(REGEX MATCH "^([^=]*)=(.*)$" found "${need}")
  if(NOT ${CMAKE_MATCH_1})
    list(APPEND EDEN_PROFILER_LACKS "${CMAKE_MATCH_2}")
  endif()
endforeach()
if(EDEN_PROFILER_LACKS)
  list(JOIN EDEN_PROFILER_LACKS ", " EDEN_PROFILER_LACKS)
  string(PREPEND EDEN_PROFILER_LACKS "eden-profile is left out, it lacks ")
  string(APPEND EDEN_PROFILER_LACKS "; run: apt-get install libcli11-dev nlohmann-json3-dev zlib1g-dev")
  if(EDEN_PROFILER_MODE STREQUAL "ON")
    message(FATAL_ERROR "${EDEN_PROFILER_LACKS}")
  endif()
  message(NOTICE "${EDEN_PROFILER_LACKS}")
  return()
endif()

file(STRINGS pyproject.toml EDEN_VERSION REGEX "^version = ")
string(REGEX REPLACE "^version = \"(.*)\"$" "\\1" EDEN_VERSION "${EDEN_VERSION}")

add_executable(eden_profile ${EDEN_PROFILER_SOURCES} $<TARGET_OBJECTS:eden_ops_objects>)
target_include_directories(eden_profile SYSTEM PRIVATE "${EDEN_TORCH}/include"
  "${EDEN_TORCH}/include/torch/csrc/api/include")
target_link_libraries(eden_profile PRIVATE eden_core nlohmann_json::nlohmann_json CLI11::CLI11 ZLIB::ZLIB
  ${EDEN_PROFILER_TORCH} ${CMAKE_DL_LIBS})
if(NOT APPLE)
  # torch's library for CUDA only registers itself, so that nothing here asks for it by a symbol; what it needs in turn
  # it finds by itself.
  target_link_options(eden_profile PRIVATE LINKER:--no-as-needed LINKER:--allow-shlib-undefined)
endif()
target_compile_definitions(eden_profile PRIVATE "EDEN_VERSION=\"${EDEN_VERSION}\""
  "EDEN_OUTPUT_DIR=\"${EDEN_OUTPUT_DIR}\"" $<$<BOOL:${EDEN_TORCH_HAS_torch_cuda}>:EDEN_TORCH_CUDA>)
target_compile_options(eden_profile PRIVATE ${EDEN_WARNINGS})
set_target_properties(eden_profile PROPERTIES OUTPUT_NAME eden-profile BUILD_RPATH "${EDEN_TORCH}/lib")
