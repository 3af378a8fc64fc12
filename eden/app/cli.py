"""The program ``eden``. What it needs is imported while it already minds an interruption."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line.

    A user's mistake is one line on standard error and an exit status of 1, 2 for wrong usage; a fault of EDEN's says
    so, keeps its traceback in a file and ends with 70; an interruption ends with 130.
    """
    try:
        from eden.app.shell import run

        status = run(sys.argv[1:])
    except KeyboardInterrupt:
        status = 130  # of a process that SIGINT ended, as shells give it
        print(
            "eden: interrupted; files already written are whole. retrain, run and demo go on with --resume, profile "
            "and certify with the same command",
            file=sys.stderr,
        )
    sys.exit(status)


if __name__ == "__main__":
    main()
