"""Plots of devices and fits, a file each."""
