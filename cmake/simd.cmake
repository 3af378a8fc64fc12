# The inner loops, once per instruction set that the compiler has for this target; the program chooses among them when
# it starts. Only these libraries get flags of their own: anything else must run on every machine.
include(CheckCXXCompilerFlag)
set(EDEN_ISAS baseline)
if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64|amd64)$")
  # Compiled for, and what kernels.cpp asks the processor for: a virtual machine may hide any of them.
  set(EDEN_SETS_avx2 avx2 fma f16c bmi bmi2 popcnt)
  set(EDEN_SETS_avx512 ${EDEN_SETS_avx2} avx512f avx512bw avx512dq avx512vl)
  foreach(isa avx2 avx512)
    list(TRANSFORM EDEN_SETS_${isa} PREPEND "-m" OUTPUT_VARIABLE EDEN_FLAGS_${isa})
    list(TRANSFORM EDEN_SETS_${isa} REPLACE "(.+)" "__builtin_cpu_supports(\"\\1\")" OUTPUT_VARIABLE asked)
    list(JOIN asked "&&" EDEN_ASKS_${isa})
    string(REPLACE ";" " " flags "${EDEN_FLAGS_${isa}}")
    check_cxx_compiler_flag("${flags}" EDEN_COMPILES_${isa})
    if(EDEN_COMPILES_${isa})
      list(APPEND EDEN_ISAS ${isa})
    endif()
  endforeach()
  if(EDEN_SANITIZE MATCHES thread)
    # GCC 12 makes loops of AVX-512 with this sanitizer that lose marks of lines, and with no other, nor of another set.
    list(REMOVE_ITEM EDEN_ISAS avx512)
  endif()
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    # GCC takes the operand that its own intrinsics leave undefined on purpose for uninitialized.
    list(APPEND EDEN_FLAGS_avx512 -Wno-uninitialized -Wno-maybe-uninitialized)
  endif()
elseif(CMAKE_SYSTEM_PROCESSOR MATCHES "^(aarch64|arm64|ARM64)$")
  list(APPEND EDEN_ISAS neon)
endif()

foreach(isa IN LISTS EDEN_ISAS)
  add_library(eden_${isa} OBJECT ${EDEN_ISA_SOURCES})
  target_include_directories(eden_${isa} PRIVATE csrc)
  target_compile_definitions(eden_${isa} PRIVATE EDEN_ISA=${isa})
  target_compile_options(eden_${isa} PRIVATE ${EDEN_WARNINGS} ${EDEN_ARITHMETIC} ${EDEN_FLAGS_${isa}})
  list(APPEND EDEN_ISA_OBJECTS $<TARGET_OBJECTS:eden_${isa}>)
  string(TOUPPER EDEN_HAS_${isa} EDEN_HAS_ISA)
  if(DEFINED EDEN_ASKS_${isa})
    string(APPEND EDEN_HAS_ISA "=${EDEN_ASKS_${isa}}")
  endif()
  list(APPEND EDEN_ISA_DEFINITIONS "${EDEN_HAS_ISA}")
endforeach()
# The loops of apply.cpp are left to the compiler to turn into vectors, whatever the build type; that a comparison
# could raise a floating-point exception, which nobody looks at, would keep it from doing so.
# Under sanitizers that takes GCC a quarter of an hour a file, and speed is not what is asked for.
set(EDEN_APPLY_OPTIMIZATION -O3)
if(EDEN_SANITIZE)
  set(EDEN_APPLY_OPTIMIZATION -O1)
endif()
set_source_files_properties(csrc/memory/corrupt/simd/apply.cpp PROPERTIES COMPILE_OPTIONS
  "${EDEN_APPLY_OPTIMIZATION};-fno-trapping-math")
set_source_files_properties(csrc/memory/codes/coded_load.cpp PROPERTIES COMPILE_OPTIONS -fno-trapping-math)
