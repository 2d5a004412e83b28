"""Digests of functions: by their source, or, sooner, by the files that they come from.

In a digest of the source comments, layout and messages do not count. It is taken of the syntax tree
and not of bytecode, which differs between versions of Python.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import linecache
import textwrap
from collections.abc import Iterable
from pathlib import Path
from types import CodeType

import xxhash

__all__ = ["digest", "digest_of_files"]


def digest(parts: Iterable) -> str:
    """A digest of `parts`: functions (below the wrappers of their decorators), and constants.

    Raises:
        OSError: the source of a function is not there.
        SyntaxError: what is there is not its source.
    """
    normal = [_normal(_syntax(part)) if callable(part) else repr(part) for part in parts]
    return hashlib.sha256(repr(normal).encode()).hexdigest()[:16]


def digest_of_files(parts: Iterable) -> str:
    """A digest of the whole files in which `parts` are, and of the places of `parts` in them.

    It takes a tenth of the time of `digest`, and changes with every comment.

    Raises:
        OSError: a file is not there.
    """
    found = xxhash.xxh3_64()
    codes = []
    for part in parts:
        code = getattr(inspect.unwrap(part) if callable(part) else part, "__code__", None)
        name, line = (code.co_qualname, code.co_firstlineno) if code else (repr(part), 0)
        found.update(f"{name} {line}\n".encode())
        codes += [code] if code else []
    for file in dict.fromkeys(code.co_filename for code in codes):
        found.update(Path(file).read_bytes())
    return found.hexdigest()


def _syntax(function) -> ast.AST:
    """The syntax tree of `function`; `inspect.getsource` takes several times as long."""
    function = inspect.unwrap(function)
    code = getattr(function, "__code__", None)
    lines = code and linecache.getlines(code.co_filename, function.__globals__)
    if not lines:
        raise OSError(f"the source of {function!r} cannot be read")
    source = "".join(lines[code.co_firstlineno - 1 : _last_line(code)])
    statements = ast.parse(textwrap.dedent(source)).body
    if len(statements) != 1:
        raise SyntaxError(f"{code.co_filename} has changed since it was imported")
    return statements[0]


def _last_line(code: CodeType) -> int:
    ends = [end or line or 0 for line, end, _, _ in code.co_positions()]
    return max(ends + [_last_line(const) for const in code.co_consts if inspect.iscode(const)])


def _normal(node):
    """A syntax tree as nested tuples without positions, docstrings and the text of messages."""
    if isinstance(node, list):
        return tuple([_normal(item) for item in node])
    if not isinstance(node, ast.AST):
        return repr(node)
    if isinstance(node, ast.Constant):
        return repr(node.value)
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.JoinedStr):  # how its text is split differs between versions of Python
        return tuple([_normal(v.value) for v in node.values if isinstance(v, ast.FormattedValue)])
    fields = node.__dict__
    if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and _is_text(node.body[0]):
        fields = {**fields, "body": node.body[1:]}
    parts = [
        (name, _normal(value))
        for name in node._fields
        if name != "ctx" and (value := fields.get(name)) is not None and value != []
    ]
    return (type(node).__name__, *parts)


def _is_text(statement: ast.stmt) -> bool:
    """Whether a statement is a text alone: a docstring."""
    value = statement.value if isinstance(statement, ast.Expr) else None
    return isinstance(value, ast.Constant) and isinstance(value.value, str)
