# The inner loops, once per instruction set that the compiler has for this target; the program chooses among them when
# it starts. Only these files get flags of their own: anything else must run on every machine.
include(CheckCXXCompilerFlag)
set(EDEN_ISA_SOURCES ${EDEN_BASELINE_SOURCES})
set(EDEN_ISA_DEFINITIONS)
if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64|amd64)$")
  set(EDEN_AVX2_FLAGS -mavx2 -mfma -mf16c -mbmi -mbmi2 -mpopcnt)
  set(EDEN_AVX512_FLAGS ${EDEN_AVX2_FLAGS} -mavx512f -mavx512bw -mavx512dq -mavx512vl)
  foreach(isa AVX2 AVX512)
    string(REPLACE ";" " " flags "${EDEN_${isa}_FLAGS}")
    check_cxx_compiler_flag("${flags}" EDEN_COMPILES_${isa})
    if(EDEN_COMPILES_${isa})
      list(APPEND EDEN_ISA_SOURCES ${EDEN_${isa}_SOURCES})
      list(APPEND EDEN_ISA_DEFINITIONS EDEN_HAS_${isa})
      set_source_files_properties(${EDEN_${isa}_SOURCES} PROPERTIES COMPILE_OPTIONS "${EDEN_${isa}_FLAGS}")
    endif()
  endforeach()
  if(EDEN_COMPILES_AVX512 AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    # GCC takes the operand that its own intrinsics leave undefined on purpose for uninitialized.
    set_property(SOURCE ${EDEN_AVX512_SOURCES} APPEND PROPERTY COMPILE_OPTIONS
      -Wno-uninitialized -Wno-maybe-uninitialized)
  endif()
elseif(CMAKE_SYSTEM_PROCESSOR MATCHES "^(aarch64|arm64|ARM64)$")
  list(APPEND EDEN_ISA_SOURCES ${EDEN_NEON_SOURCES})
  list(APPEND EDEN_ISA_DEFINITIONS EDEN_HAS_NEON)
endif()
# The loops of apply_loops.h are left to the compiler to turn into vectors, whatever the build type; that a comparison
# could raise a floating-point exception, which nobody looks at, would keep it from doing so.
# Under sanitizers that takes GCC a quarter of an hour a file, and speed is not what is asked for.
if(EDEN_SANITIZE)
  set(EDEN_APPLY_FLAGS -O1 -fno-trapping-math)
else()
  set(EDEN_APPLY_FLAGS -O3 -fno-trapping-math)
endif()
foreach(isa BASELINE AVX2 AVX512 NEON)
  set(source csrc/memory/corrupt/simd/apply_${isa}.cpp)
  string(TOLOWER ${source} source)
  set_property(SOURCE ${source} APPEND PROPERTY COMPILE_OPTIONS ${EDEN_APPLY_FLAGS})
endforeach()
