# The operators use the LibTorch Stable ABI of torch 2.10, so one build runs on every later torch.
if(NOT EDEN_TORCH)
  find_package(Python REQUIRED COMPONENTS Interpreter)
  execute_process(
    COMMAND ${Python_EXECUTABLE} -c "import importlib.util as u; print(u.find_spec('torch').submodule_search_locations[0])"
    OUTPUT_VARIABLE EDEN_TORCH OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
endif()
if(NOT EXISTS "${EDEN_TORCH}/include/torch/csrc/stable/library.h")
  message(FATAL_ERROR "EDEN_TORCH=${EDEN_TORCH} holds no torch 2.10 or later")
endif()

add_library(eden_torch INTERFACE)
target_include_directories(eden_torch SYSTEM INTERFACE "${EDEN_TORCH}/include")
target_compile_definitions(eden_torch INTERFACE TORCH_TARGET_VERSION=0x020a000000000000)
target_link_directories(eden_torch INTERFACE "${EDEN_TORCH}/lib")
target_link_libraries(eden_torch INTERFACE torch_cpu c10)
target_compile_options(eden_torch INTERFACE
  "$<$<COMPILE_LANGUAGE:CXX>:-ffile-prefix-map=${EDEN_TORCH}/include/=>"
  "$<$<COMPILE_LANGUAGE:CUDA>:-Xcompiler=-ffile-prefix-map=${EDEN_TORCH}/include/=>")

# Objects, because eden-profile holds the operators, too.
add_library(eden_ops_objects OBJECT ${EDEN_OPS_SOURCES})
target_link_libraries(eden_ops_objects PRIVATE eden_core eden_torch)
target_compile_options(eden_ops_objects PRIVATE ${EDEN_WARNINGS})
add_library(eden_ops SHARED $<TARGET_OBJECTS:eden_ops_objects>)
target_link_libraries(eden_ops PRIVATE eden_core eden_torch)
# torch is loaded before this library; a path into the build environment would only mislead. The suffix is the same on every
# platform, as that of Python's own extension modules is on Linux and macOS.
set_target_properties(eden_ops PROPERTIES LIBRARY_OUTPUT_DIRECTORY "${EDEN_OUTPUT_DIR}" PREFIX "" SUFFIX ".so"
  OUTPUT_NAME "_ops" SKIP_BUILD_RPATH ON)
add_dependencies(eden_all eden_ops)
