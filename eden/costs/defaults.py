"""What costs are counted by where nothing else is said: in Python, in the shell and in recipes alike."""

from typing import Literal

PLATFORM = "cpu"
"""A name of ``platforms.PLATFORMS``."""
CURRENTS = "ddr3-1600"
"""A rank of 8 banks of 128 MiB, the geometry of the catalogue's devices: a name of ``Currents.builtin_names()``."""
VDD_LAW: Literal["linear", "quadratic"] = "linear"
"""A name of ``energy.VDD_LAWS``."""
REPEATED_HELP = "of a cache: an inference that follows another one, or finds it empty; what the cache makes of it"
