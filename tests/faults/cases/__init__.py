"""Other people's torch code around a network under faults: right, or refused by name at which call.

``CASES`` has them all; ``python tests/faults/write_cases.py`` writes the table of what came of each.
"""
