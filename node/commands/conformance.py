"""`lodestone conformance`: write the DICOM conformance statement of this version."""

import sys
from pathlib import Path

from node.commands.console import out, print_json
from node.conformance import statement


def write_statement(path: Path | None, as_json: bool) -> None:
    """Write the statement into a file, or print it where there is none."""
    text = statement()
    if path is not None:
        path.write_text(text, encoding="utf-8")
    if as_json:
        print_json({"file": str(path)} if path is not None else {"statement": text})
    elif path is not None:
        out.print(f"The conformance statement is in {path}.", soft_wrap=True)
    else:
        sys.stdout.write(text)
