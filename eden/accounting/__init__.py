"""What a placement saves: energy and time by platform, term and operand.

In: a placement, traffic, currents. Out: ``Savings`` and an ``Account``; Ramulator's statistics in their place.
"""
