# eden-profile holds the operators itself and is linked to the LibTorch that it was built with, which the operators
# of the Python package need not be. AUTO leaves it out, and says why, where LibTorch's own package may not be usable or
# nlohmann/json is not installed.
string(TOUPPER "${EDEN_PROFILER}" EDEN_PROFILER_MODE)
if(NOT EDEN_PROFILER_MODE MATCHES "^(AUTO|ON|OFF)$")
  message(FATAL_ERROR "EDEN_PROFILER=${EDEN_PROFILER}: allowed are AUTO, ON and OFF")
endif()

find_package(nlohmann_json 3.9 QUIET)
set(EDEN_NO_PROFILER "")
if(NOT nlohmann_json_FOUND AND EDEN_PROFILER_MODE STREQUAL "AUTO")
  set(EDEN_NO_PROFILER "no nlohmann/json (apt-get install nlohmann-json3-dev)")
elseif(EXISTS "${EDEN_TORCH}/lib/libtorch_cuda.so" AND EDEN_PROFILER_MODE STREQUAL "AUTO")
  # Where the toolkit is missing or another one, LibTorch's package ends the configuration instead of not being found.
  set(EDEN_NO_PROFILER "the torch at hand is built for CUDA (EDEN_PROFILER=ON builds it nevertheless)")
elseif(EDEN_PROFILER_MODE STREQUAL "AUTO")
  find_package(Torch QUIET CONFIG PATHS "${EDEN_TORCH}" NO_DEFAULT_PATH)
  if(NOT Torch_FOUND)
    set(EDEN_NO_PROFILER "LibTorch's package was not found in ${EDEN_TORCH}")
  endif()
endif()
if(EDEN_NO_PROFILER)
  message(STATUS "eden: no eden-profile: ${EDEN_NO_PROFILER}")
  return()
endif()

if(NOT nlohmann_json_FOUND)
  message(STATUS "eden: no packaged nlohmann/json (apt-get install nlohmann-json3-dev), fetching version 3.11")
  include(FetchContent)
  FetchContent_Declare(nlohmann_json GIT_REPOSITORY https://github.com/nlohmann/json.git GIT_TAG v3.11.3 GIT_SHALLOW ON)
  FetchContent_MakeAvailable(nlohmann_json)
endif()
find_package(Torch REQUIRED CONFIG PATHS "${EDEN_TORCH}" NO_DEFAULT_PATH)

file(STRINGS pyproject.toml EDEN_VERSION REGEX "^version = ")
string(REGEX REPLACE "^version = \"(.*)\"$" "\\1" EDEN_VERSION "${EDEN_VERSION}")

add_executable(eden_profile ${EDEN_PROFILER_SOURCES} $<TARGET_OBJECTS:eden_ops_objects>)
target_link_libraries(eden_profile PRIVATE eden_core nlohmann_json::nlohmann_json "${TORCH_LIBRARIES}")
target_compile_definitions(eden_profile PRIVATE "EDEN_VERSION=\"${EDEN_VERSION}\"")
target_compile_options(eden_profile PRIVATE ${EDEN_WARNINGS})
set_target_properties(eden_profile PROPERTIES OUTPUT_NAME eden-profile)
