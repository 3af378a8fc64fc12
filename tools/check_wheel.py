"""Says what a wheel contains, and whether what it needs is what its tag promises.

python tools/check_wheel.py WHEEL
"""

import io
import re
import sys
import zipfile
from pathlib import Path

# Of auditwheel.
from elftools.elf.elffile import ELFFile

# What glibc and the compiler's runtime bring, and torch, which is loaded before.
SYSTEM = re.compile(r"(libc|libm|libdl|librt|libpthread|libgcc_s|libstdc\+\+|ld-linux[-\w]*)\.so\.\d+")
TORCH = re.compile(r"lib(torch_cpu|c10)\.so")


def problems(name: str, library: bytes) -> list[str]:
    """What a library of the wheel must not have."""
    found = []
    elf = ELFFile(io.BytesIO(library))
    dynamic = elf.get_section_by_name(".dynamic")
    needed = []
    for tag in dynamic.iter_tags():
        if tag.entry.d_tag in ("DT_RPATH", "DT_RUNPATH"):
            path = getattr(tag, tag.entry.d_tag.removeprefix("DT_").lower())
            found.append(f"{name} has {tag.entry.d_tag} {path}; allowed is none")
        elif tag.entry.d_tag == "DT_NEEDED":
            needed.append(tag.needed)
    own = name.rpartition("/")[2]
    for library_name in needed:
        if TORCH.fullmatch(library_name) and own.startswith("_ops"):
            continue
        if not SYSTEM.fullmatch(library_name):
            found.append(
                f"{name} needs {library_name}; allowed are libc, libstdc++, and for operators libtorch_cpu, libc10"
            )
    imported = [
        symbol.name for symbol in elf.get_section_by_name(".dynsym").iter_symbols() if symbol["st_shndx"] == "SHN_UNDEF"
    ]
    if own.startswith("_ops"):
        # Mangled names are torch's C++ interface, which changes with each release; the stable one is C.
        tied = [symbol for symbol in imported if re.match(r"_ZN?K?\d*(2at|3c10|5torch)", symbol)]
        if tied:
            found.append(
                f"{name} uses {', '.join(sorted(tied)[:5])} of torch's C++ interface, which ties it to one release"
            )
        if any(symbol.startswith("Py") for symbol in imported):
            found.append(f"{name} uses Python's C interface, which ties it to one Python")
    path = re.search(rb"/(?:home|root|tmp|work|build)/[\w./-]+\.(?:cpp|h|cu|cuh)", library)
    if path:
        found.append(f"{name} names {path[0].decode()}, a file of the machine that built it")
    return found


def main(wheel: Path) -> int:
    """Print the contents; 1 if something is wrong."""
    python, abi, platform = wheel.stem.split("-")[-3:]
    wrong = []
    with zipfile.ZipFile(wheel) as packed:
        libraries = {name: packed.read(name) for name in packed.namelist() if name.endswith(".so")}
        others = len(packed.namelist()) - len(libraries)
        size = sum(entry.file_size for entry in packed.infolist())
    print(f"{wheel.name}: {len(libraries)} libraries and {others} other files, {size / 2**20:.1f} MiB unpacked")
    for name, library in sorted(libraries.items()):
        print(f"  {name}: {len(library) / 2**20:.1f} MiB")
        wrong += problems(name, library)
    core = [name for name in libraries if name.startswith("eden/_core.")]
    if len(core) != 1 or "eden/_ops.so" not in libraries:
        wrong.append(f"the libraries are {', '.join(libraries)}; allowed are one _core, _ops.so and _ops_cuda.so")
    elif python.removeprefix("cp") not in core[0] or python != abi:
        wrong.append(f"{core[0]} is compiled for one Python, and the wheel's tag says {python}-{abi}")
    if "manylinux" not in platform:
        wrong.append(f"the platform is {platform}; allowed is a manylinux tag")
    print("  CUDA operators: " + ("yes" if "eden/_ops_cuda.so" in libraries else "no"))
    for line in wrong:
        print(f"check_wheel: {line}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
