"""Measurement campaigns as their tools write them.

In: a file of one of the formats. Out: readings, counts and flips, with notes on what was left out. It knows of no
fit.
"""
