"""What every room needs and none owns: files, folders of results, journals, progress, ranks, checks of figures.

In: paths and records. Out: files written whole, refusals that name a place. It knows no memory, no network and no
device.
"""
