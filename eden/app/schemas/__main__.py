"""Write the schemas that ship with the package, from the definitions of the files."""

from __future__ import annotations

import json
from pathlib import Path

import pydantic

from eden.app.formats import KINDS, kind_of
from eden.common.files import write_text


def texts() -> dict[str, str]:
    """The schemas by the names of their files. Which pydantic worded one is said, since another may do so otherwise."""
    comment = {"$comment": f"worded by pydantic {'.'.join(pydantic.VERSION.split('.')[:2])}"}
    return {
        f"{form.removeprefix('eden-')}.json": json.dumps(comment | kind_of(form).json_schema(), indent=2) + "\n"
        for form in KINDS
    }


def main() -> None:
    """Write every schema beside this module."""
    for name, text in texts().items():
        write_text(Path(__file__).with_name(name), text)


if __name__ == "__main__":
    main()
