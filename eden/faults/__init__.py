"""Faults on the operands of a network: which tensors they are, how layers read them, what they cover.

In: a network and an error model of ``eden.memory``. Out: the same network, whose loads go through that memory. What
an operand's cells are, a layout says (``eden.faults.layout.Layout``); who makes one, this room does not know.
"""
