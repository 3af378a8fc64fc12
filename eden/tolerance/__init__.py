"""What a network tolerates: the search, its certificate, verification, accuracy over chips, packages without Python.

In: a network under faults and samples. Out: a ``Tolerance``, the highest bit error rate of each operand.
"""
