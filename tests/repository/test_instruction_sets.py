"""Does the program ask the processor for everything that its inner loops are compiled for?"""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_flag_of_an_instruction_set_is_asked_for():
    cmake = (ROOT / "cmake" / "simd.cmake").read_text(encoding="utf-8")
    sets = dict(re.findall(r"set\(EDEN_SETS_(\w+) ([^)]*)\)", cmake))
    assert "fma" in sets["avx2"].split()
    assert {"${EDEN_SETS_avx2}", "avx512bw"} <= set(sets["avx512"].split())
    # Both come from the one list, and no flag or question from anywhere else.
    assert 'list(TRANSFORM EDEN_SETS_${isa} PREPEND "-m" OUTPUT_VARIABLE EDEN_FLAGS_${isa})' in cmake
    assert 'list(TRANSFORM EDEN_SETS_${isa} REPLACE "(.+)" "__builtin_cpu_supports' in cmake
    code = {
        path.name: re.sub(r"//.*", "", path.read_text(encoding="utf-8"))
        for path in (ROOT / "csrc").rglob("*.*")
        if path.suffix in (".h", ".cpp", ".cu")
    }
    assert [name for name, text in code.items() if "EDEN_HAS_AVX2" in text and "EDEN_HAS_AVX512" in text] == [
        "kernels.cpp"
    ]
    assert not [name for name, text in code.items() if "__builtin_cpu_supports" in text]
    assert not re.search(r'"-m\w|[( ]-m(?!arch)\w', cmake.replace('PREPEND "-m"', ""))
