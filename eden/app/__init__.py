"""The command line and what it works on: tasks, recipes, the whole chain, the doctor.

In: options, recipes, tasks. Out: what the other rooms make, in files. Nothing imports it.
"""
