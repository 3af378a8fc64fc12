find_package(Python REQUIRED COMPONENTS Interpreter Development.Module)
if(NOT PYBIND11_CMAKE_DIR)
  execute_process(COMMAND ${Python_EXECUTABLE} -m pybind11 --cmakedir
    OUTPUT_VARIABLE PYBIND11_CMAKE_DIR OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
endif()
set(PYBIND11_FINDPYTHON ON)
find_package(pybind11 REQUIRED CONFIG PATHS "${PYBIND11_CMAKE_DIR}" NO_DEFAULT_PATH)
# Without link-time optimization, which makes a rebuild of one file take as long as one of all.
pybind11_add_module(eden_module MODULE NO_EXTRAS ${EDEN_PYTHON_SOURCES})
target_link_libraries(eden_module PRIVATE eden_core)
target_compile_options(eden_module PRIVATE ${EDEN_WARNINGS})
set_target_properties(eden_module PROPERTIES OUTPUT_NAME "_core" LIBRARY_OUTPUT_DIRECTORY "${EDEN_OUTPUT_DIR}")
add_dependencies(eden_all eden_module)
