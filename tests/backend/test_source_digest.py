"""Digests of functions: what counts in a source, and what does not."""

import functools
import importlib
import itertools
import sys

import pytest

from kerasvino.backend.source_digest import digest, digest_of_files

ONE = '''
def function(x, *, y=None):
    """What it does."""
    # why
    if x is None or y > 3:
        raise ValueError(
            f"Of these, {x!r} is too much. "
            f"Given: {y}"
        )

    def inner():
        'A text.'
        return x[
            1
        ]

    return [
        inner(),
    ]
'''

SAME = """
def function(x, *, y=None):
    if x is None or (y > 3):
        raise ValueError(f"{x!r} is {y}.")
    def inner():  # the same
        return x[1]
    return [inner()]
"""

count = itertools.count()


@pytest.fixture
def function_of(tmp_path, monkeypatch):
    """The function of a source text, imported from a file."""
    monkeypatch.syspath_prepend(tmp_path)

    def imported(text):
        name = f"source_{next(count)}"
        (tmp_path / f"{name}.py").write_text(text)
        importlib.invalidate_caches()
        function = importlib.import_module(name).function
        del sys.modules[name]
        return function

    return imported


def test_comments_layout_and_messages_do_not_count(function_of):
    assert digest([function_of(ONE)]) == digest([function_of(SAME)])


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("> 3", "> 4"),
        ("> 3", ">= 3"),
        ("y=None", "y=False"),
        ("y=None", "z=None"),
        ("{x!r}", "{y!r}"),
        ("return [inner()]", "return (inner())"),
        ("return [inner()]", "return [inner()]; print(x)"),
        ("ValueError", "TypeError"),
        ("        return x[1]", "        return"),
        ("def function", "@print\ndef function"),
    ],
)
def test_what_a_function_does_counts(old, new, function_of):
    assert old in SAME
    before = digest([function_of(SAME)])
    changed = SAME.replace(old, new)
    if new.startswith("@"):
        changed = "def print(f): return f\n" + changed
    assert digest([function_of(changed)]) != before


def test_wrappers_do_not_count(function_of):
    function = function_of(SAME)

    @functools.wraps(function)
    def wrapped(*args):
        return function(*args)

    assert digest([wrapped]) == digest([function])


def test_methods_are_taken_from_their_class(function_of):
    text = "class function:\n" + "".join(f"    {line}\n" for line in SAME.splitlines())
    assert digest([function_of(text).function]) == digest([function_of(SAME)])


def test_constants_and_order_count(function_of):
    function = function_of(SAME)
    others = [[], [function], [function, None], [None, function], [function, "a"], [function, "b"]]
    assert len({digest(parts) for parts in others}) == len(others)


def test_a_function_without_source_is_an_error(function_of):
    namespace = {}
    exec("def function(): pass", namespace)
    for function in (namespace["function"], len):
        with pytest.raises(OSError, match="cannot be read"):
            digest([function])


def test_a_file_that_has_changed_is_an_error_or_another_digest(function_of):
    function = function_of(SAME)
    before = digest([function])
    import linecache

    linecache.cache[function.__code__.co_filename] = (1, None, ["x = (\n"] * 30, "")
    with pytest.raises(SyntaxError):
        digest([function])
    lines = SAME.replace("> 3", "> 5").splitlines(True)
    linecache.cache[function.__code__.co_filename] = (1, None, lines, "")
    assert digest([function]) != before


def test_a_digest_of_files_tells_every_change_and_the_place(function_of):
    first, same = function_of(ONE), function_of(ONE)
    assert digest_of_files([first]) == digest_of_files([same])
    assert digest_of_files([first]) != digest_of_files([function_of(ONE + "# a comment")])
    two = ONE + ONE.replace("def function", "def other").replace("> 3", "> 4")
    function = function_of(two)
    assert digest_of_files([function]) != digest_of_files([function.__globals__["other"]])
    assert digest_of_files([function, 1]) != digest_of_files([function, 2])


def test_a_digest_of_files_needs_the_files():
    namespace = {}
    exec("def function(): pass", namespace)
    with pytest.raises(OSError):
        digest_of_files([namespace["function"]])
