"""The mixed-integer program of the exact placement, on HiGHS, and what finds placements near its relaxations."""
