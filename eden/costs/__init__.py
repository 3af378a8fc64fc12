"""What a network moves between processor and DRAM, what a DRAM command takes, what an operating point costs.

In: operands, a platform, currents. Out: traffic, energy and time of an operating point. Only ``trace`` runs a
network. It knows of no placement.
"""
