find_package(Python REQUIRED COMPONENTS Interpreter Development.Module)
if(NOT PYBIND11_CMAKE_DIR)
  execute_process(COMMAND ${Python_EXECUTABLE} -m pybind11 --cmakedir
    OUTPUT_VARIABLE PYBIND11_CMAKE_DIR OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
endif()
set(PYBIND11_FINDPYTHON ON)
find_package(pybind11 REQUIRED CONFIG PATHS "${PYBIND11_CMAKE_DIR}" NO_DEFAULT_PATH)
# Without link-time optimization, which makes a rebuild of one file take as long as one of all.
pybind11_add_module(eden_module MODULE NO_EXTRAS ${EDEN_BINDINGS_OF_FITS} ${EDEN_BINDINGS_OF_NETWORKS})
target_link_libraries(eden_module PRIVATE eden_core)
# What a file of bindings takes is mostly what pybind11 makes of its own headers in each: so they are compiled as two, one
# for each of two cores. They only convert: -O1 costs a call nothing that can be measured.
target_compile_options(eden_module PRIVATE ${EDEN_WARNINGS} -O1)
set_source_files_properties(${EDEN_BINDINGS_OF_FITS} PROPERTIES UNITY_GROUP fits)
set_source_files_properties(${EDEN_BINDINGS_OF_NETWORKS} PROPERTIES UNITY_GROUP networks)
set_target_properties(eden_module PROPERTIES UNITY_BUILD ON UNITY_BUILD_MODE GROUP OUTPUT_NAME "_core" LIBRARY_OUTPUT_DIRECTORY "${EDEN_OUTPUT_DIR}")
add_dependencies(eden_all eden_module)
