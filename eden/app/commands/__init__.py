"""The subcommands of ``eden``, each in the module of its name. A further one is a module here and its name below."""

NAMES = (
    *("devices", "fit", "check", "retrain", "run", "export", "profile", "place", "memory_map"),
    *("savings", "traffic", "account", "certify", "evaluate", "report", "schema", "demo", "doctor"),
)
"""In the order of the help."""
