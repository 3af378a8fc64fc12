"""The page that shows what was found.

In: the files of the other rooms. Out: one self-contained page.
"""
