"""Which partition each operand is put in, at which operating point and address.

In: a tolerance, a device and costs. Out: a ``Placement``, and the ``MemoryMap`` that a controller is given.
"""
