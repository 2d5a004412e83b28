"""Runs the Python blocks of a page of the documentation: `python -m tests.docs.pages docs/x.md`.

The blocks of a page run in order and share their names, in an empty folder. Comments of HTML, which
readers do not see, say what else belongs to a page:

    <!-- setup        code that runs before the first block: the model, the data
    import keras
    -->

    <!-- raises ValueError -->        the next block must raise this error

    <!-- not run: a reason -->        the next block is shown only
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

__all__ = ["PAGES", "ROOT", "Block", "blocks", "run"]

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])

_PART = re.compile(
    r"^<!-- setup\n(?P<setup>.*?)^-->$"
    r"|^<!-- raises (?P<raises>\w+) -->$"
    r"|^<!-- not run: (?P<shown>.+?) -->$"
    r"|^```python\n(?P<code>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


class Block(NamedTuple):
    """A piece of code of a page.

    Attributes:
        line: of the page, that of its first line.
        code: the text.
        raises: the name of the error that it must raise, if any.
        is_run: whether it is more than shown.
    """

    line: int
    code: str
    raises: str | None = None
    is_run: bool = True


def blocks(text: str) -> list[Block]:
    """The blocks of a page, setups among them."""
    found, raises, is_run = [], None, True
    for part in _PART.finditer(text):
        kind = part.lastgroup
        if kind == "raises":
            raises = part[kind]
        elif kind == "shown":
            is_run = False
        else:
            line = text.count("\n", 0, part.start(kind)) + 1
            found.append(Block(line, part[kind], raises, is_run))
            raises, is_run = None, True
    return found


def run(path: Path) -> int:
    """Runs the blocks of a page, and returns how many there were.

    Raises:
        AssertionError: a block did not raise the error that the page announces.
    """
    names: dict[str, object] = {"__name__": "__main__"}
    ran = [block for block in blocks(path.read_text(encoding="utf-8")) if block.is_run]
    for block in ran:
        # with the lines of the page in tracebacks
        code = compile("\n" * (block.line - 1) + block.code, str(path), "exec")
        try:
            exec(code, names)
        except Exception as error:  # of any kind: it is compared
            if block.raises is None or block.raises not in {
                k.__name__ for k in type(error).__mro__
            }:
                raise
        else:
            assert block.raises is None, f"{path}:{block.line} did not raise {block.raises}"
    return len(ran)


if __name__ == "__main__":
    page = Path(sys.argv[1]).resolve()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        print(f"{run(page)} blocks")
