"""Does the program ask the processor for everything that its inner loops are compiled for?"""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_flag_of_an_instruction_set_is_asked_for():
    cmake = (ROOT / "cmake" / "simd.cmake").read_text(encoding="utf-8")
    dispatch = (ROOT / "csrc" / "memory" / "corrupt" / "simd" / "kernels.cpp").read_text(encoding="utf-8")
    flags = {isa: set(re.findall(r"-m(\w+)", of)) for isa, of in re.findall(r"set\(EDEN_FLAGS_(\w+) ([^)]*)\)", cmake)}
    assert "fma" in flags["avx2"]
    assert "avx512bw" in flags["avx512"]
    assert "${EDEN_FLAGS_avx2}" in cmake
    bodies = dict(re.findall(r"bool has_(\w+)\(\) \{(.*?)\n\}", dispatch, re.DOTALL))
    asked = {isa: set(re.findall(r'__builtin_cpu_supports\("(\w+)"\)', body)) for isa, body in bodies.items()}
    assert "has_avx2()" in bodies["avx512"]
    assert asked == flags
