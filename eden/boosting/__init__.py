"""Retraining under errors that rise: the curriculum, a training loop, checkpoints, other libraries' trainers.

In: a network under faults, and the rates that are to be reached. Out: the same network, which tolerates more.
"""
