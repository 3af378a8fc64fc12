"""A network as it runs from a memory: its words at their addresses, and integer arithmetic from those words.

In: a calibrated network under faults, in 8-bit codes, and where its operands lie. Out: a ``MemoryImage``, and a network
that computes in integers from what an image holds.
"""
