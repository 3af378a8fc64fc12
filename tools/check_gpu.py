"""Says which GPUs `make test-gpu` and `make bench-gpu` have, or what is missing for them to have one."""

import sys

import torch

from eden.memory import library as _library

LEAST_CAPABILITY = (8, 0)


def main() -> int:
    """Print the devices; 1 if there is none that the operators run on."""
    if not torch.cuda.is_available():
        built = "without CUDA" if torch.version.cuda is None else f"for CUDA {torch.version.cuda}"
        print(
            f"no CUDA device: torch {torch.__version__}, built {built}, finds none here (docs/how-to/install.md says "
            "how another torch is chosen)",
            file=sys.stderr,
        )
        return 1
    try:
        _library.require_cuda()
    except ImportError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"torch {torch.__version__}, CUDA {torch.version.cuda}")
    usable = 0
    for index in range(torch.cuda.device_count()):
        device = torch.cuda.get_device_properties(index)
        capable = (device.major, device.minor) >= LEAST_CAPABILITY
        usable += capable
        note = "" if capable else f"; allowed is {LEAST_CAPABILITY[0]}.{LEAST_CAPABILITY[1]} or later"
        memory = device.total_memory / 2**30
        print(f"{index}: {device.name}, {memory:.0f} GiB, compute capability {device.major}.{device.minor}{note}")
    return 0 if usable else 1


if __name__ == "__main__":
    sys.exit(main())
