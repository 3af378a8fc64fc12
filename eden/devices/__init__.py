"""Devices fitted to measurements: likelihoods, curves along latencies and voltages, partitions, the catalogue.

In: readings. Out: a ``Device``, whose partitions give an error model at each operating point. It knows of no network.
"""
