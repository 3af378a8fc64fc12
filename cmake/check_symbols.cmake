# cmake -DNM=... -DOBJECTS=a.o;b.o -P check_symbols.cmake: fails if one of the objects holds a weak symbol, which is what a
# function or variable becomes that several translation units may define: the linker keeps one copy of it, and if that
# came from a file with flags of its own, machines without its instruction set would run it.
if(NOT NM OR NOT OBJECTS)
  message(FATAL_ERROR "NM and OBJECTS must be given")
endif()
foreach(object IN LISTS OBJECTS)
  execute_process(COMMAND ${NM} -C ${object} OUTPUT_VARIABLE symbols COMMAND_ERROR_IS_FATAL ANY)
  if(NOT symbols MATCHES " T ")
    message(FATAL_ERROR "${object} defines no function")
  endif()
  string(REGEX MATCHALL "[^\n]* [WVu] [^\n]*" weak "${symbols}")
  # Where the exception handler's address is kept, and constants of inline functions, such as a code's tables: no code.
  list(FILTER weak EXCLUDE REGEX "DW[.]ref[.]| [uV] .*::k[A-Z][A-Za-z]*$")
  if(weak)
    list(JOIN weak "\n" lines)
    message(FATAL_ERROR "weak symbols in ${object}:\n${lines}")
  endif()
endforeach()
