"""Every Python block of README and the documentation runs; links between pages lead somewhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from tests.docs.pages import PAGES, ROOT, blocks, run

WITH_CODE = [page for page in PAGES if any(b.is_run for b in blocks(page.read_text("utf-8")))]


@pytest.mark.parametrize("page", WITH_CODE, ids=lambda page: page.stem)
def test_blocks_run(page):
    ours = ("KERAS", "TF_")  # what the tests' own process has set
    env = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    done = subprocess.run(
        [sys.executable, "-m", "tests.docs.pages", page],
        cwd=ROOT, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=600,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_lead_somewhere(page):
    text = re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.DOTALL)
    wrong = []
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        path, _, anchor = target.partition("#")
        if "://" in target:
            continue
        other = (page.parent / path).resolve() if path else page
        if not other.exists() or (anchor and anchor not in _anchors(other.read_text("utf-8"))):
            wrong.append(target)
    assert not wrong


def _anchors(text: str) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE)
    plain = [re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings]
    return {heading.replace(" ", "-") for heading in plain}


def test_a_block_that_fails_is_told(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# Page\n\n<!-- setup\na = 1\n-->\n\n```python\nassert a == 2\n```\n")
    with pytest.raises(AssertionError) as caught:
        run(page)
    assert caught.traceback[-1].lineno + 1 == 8
    page.write_text("<!-- raises ZeroDivisionError -->\n```python\n1 / 0\n```\n")
    assert run(page) == 1
    page.write_text("<!-- raises ZeroDivisionError -->\n```python\n1 / 1\n```\n")
    with pytest.raises(AssertionError, match="did not raise ZeroDivisionError"):
        run(page)
    page.write_text("<!-- not run: an example -->\n```python\n1 / 0\n```\n")
    assert run(page) == 0
