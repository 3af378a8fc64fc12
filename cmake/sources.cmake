# Every source file of every library, one line each, in alphabetical order.
set(EDEN_CORE_SOURCES
  csrc/core/region.cpp
)
set(EDEN_OPS_SOURCES
  csrc/ops/corrupt.cpp
  csrc/ops/cpu/corrupt_cpu.cpp
)
set(EDEN_CUDA_SOURCES
  csrc/ops/cuda/corrupt_cuda.cu
)
set(EDEN_PYTHON_SOURCES
  csrc/python/bind_region.cpp
  csrc/python/module.cpp
)
set(EDEN_TEST_SOURCES
  tests/csrc/test_philox.cpp
)
