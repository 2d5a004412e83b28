"""Undo the places where Keras's tests skip or branch on the backend's name "openvino".

They were written for the backend that Keras bundles. A comparison with the name is rewritten, while
a test file is loaded, to the value that it has for a backend of another name:

    backend.backend() == "openvino"                ->  False
    backend.backend() != "openvino"                ->  True
    backend.backend() in ("numpy", "openvino")     ->  backend.backend() in ("numpy",)
    backend.backend() not in ["openvino"]          ->  True

One side must be a call of a function named `backend`, which also covers `keras.config.backend()`.
Two forms stay as they are:

* the test of an `if` or `elif` whose body only imports: it selects a module;
* a collection that names a backend besides `openvino` and `numpy`. `in ("tensorflow", "openvino")`
  says what two backends have in common, and `not in ("jax", "openvino")` lists the supported ones;
  neither singles out OpenVINO. (`numpy` is the other backend that Keras holds to be incomplete.)

A table that has an entry for each backend that trains gets one for this backend, that of PyTorch:

    {"tensorflow": "CPU:0", "jax": "cpu:0", "torch": "cpu"}  ->  {..., "openvino": "cpu"}

A rewritten comparison or table is also counted. In a decorator or in a class body it adds a pytest
mark, which spreads over classes and generated tests just as the skip beside it does. Within a
function it becomes `__kerasvino_reached__(value)`, which notes the test that is running.
"""

import ast
import copy
import importlib.machinery
import importlib.util
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from _pytest.assertion.rewrite import rewrite_asserts

NAME = "openvino"
TRAINING = frozenset({"jax", "tensorflow", "torch"})
INCOMPLETE = frozenset({"numpy", NAME})
MARK = "kerasvino_neutralised"
MARK_NAME = "__kerasvino_neutralised__"  # the mark, in a test module's globals
REACHED_NAME = "__kerasvino_reached__"  # the function that notes the running test
MODULE_FLAG = "__kerasvino_module_neutralised__"


@dataclass(frozen=True)
class Site:
    """One rewritten place: its line, its text, and "module", "class" or "function"."""

    line: int
    text: str
    scope: str


def neutralise(tree: ast.Module) -> list[Site]:
    """Rewrites `tree` in place and returns what was rewritten, in source order."""
    rewriter = _Rewriter()
    rewriter.visit(tree)
    ast.fix_missing_locations(tree)
    return sorted(rewriter.sites, key=lambda site: site.line)


def named_comparisons(tree: ast.Module) -> list[tuple[int, str]]:
    """Line and text of every comparison that holds the name, to be rewritten or not."""

    def holds_name(node: ast.AST) -> bool:
        parts = ast.walk(node)
        return any(isinstance(part, ast.Constant) and part.value == NAME for part in parts)

    nodes = [n for n in ast.walk(tree) if isinstance(n, ast.Compare) and holds_name(n)]
    return sorted((node.lineno, ast.unparse(node)) for node in nodes)


def neutral_form(node: ast.Compare) -> ast.expr | None:
    """What the comparison `node` is for a backend of another name; None: not for us to touch."""
    if len(node.ops) != 1:
        return None
    left, operator, right = node.left, node.ops[0], node.comparators[0]
    if isinstance(operator, ast.Eq | ast.NotEq):
        if _is_backend_call(right):
            left, right = right, left
        if _is_backend_call(left) and isinstance(right, ast.Constant) and right.value == NAME:
            return ast.Constant(isinstance(operator, ast.NotEq))
        return None
    if not isinstance(operator, ast.In | ast.NotIn) or not _is_backend_call(left):
        return None
    if not isinstance(right, ast.Tuple | ast.List | ast.Set):
        return None
    names = [item.value if isinstance(item, ast.Constant) else None for item in right.elts]
    if NAME not in names or not INCOMPLETE.issuperset(names):
        return None
    rest = [item for item, name in zip(right.elts, names, strict=True) if name != NAME]
    if not rest:
        return ast.Constant(isinstance(operator, ast.NotIn))
    return ast.Compare(left, [operator], [ast.Tuple(rest, ast.Load())])


def _is_backend_call(node: ast.expr) -> bool:
    if not isinstance(node, ast.Call) or node.args or node.keywords:
        return False
    function = node.func
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    return name == "backend"


class _Rewriter(ast.NodeTransformer):
    def __init__(self) -> None:
        self.sites: list[Site] = []
        self.scopes = ["module"]  # where we are: module, class, decorator, function

    def visit_Compare(self, node: ast.Compare) -> ast.expr:
        neutral = neutral_form(node)
        if neutral is None:
            self.generic_visit(node)
            return node
        scope = "function" if "function" in self.scopes else self.scopes[-1]
        self.sites.append(Site(node.lineno, ast.unparse(node), scope))
        if scope == "function":
            neutral = ast.Call(ast.Name(REACHED_NAME, ast.Load()), [neutral], [])
        return ast.copy_location(neutral, node)

    def visit_Dict(self, node: ast.Dict) -> ast.Dict:
        self.generic_visit(node)
        names = [key.value if isinstance(key, ast.Constant) else None for key in node.keys]
        if not TRAINING.issubset(names) or NAME in names:
            return node
        scope = "function" if "function" in self.scopes else self.scopes[-1]
        self.sites.append(Site(node.lineno, ast.unparse(node), scope))
        entry = copy.deepcopy(node.values[names.index("torch")])
        if scope == "function":
            entry = ast.Call(ast.Name(REACHED_NAME, ast.Load()), [entry], [])
        node.keys.append(ast.Constant(NAME))
        node.values.append(entry)
        return node

    def visit_If(self, node: ast.If) -> ast.If:
        if not all(isinstance(statement, ast.Import | ast.ImportFrom) for statement in node.body):
            node.test = self.visit(node.test)
        node.body = [self.visit(statement) for statement in node.body]
        node.orelse = [self.visit(statement) for statement in node.orelse]
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef:
        node.decorator_list = self._decorators(node.decorator_list)
        node.args = self.visit(node.args)
        node.body, _ = self._within("function", node.body)
        return node

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.ClassDef:
        node.decorator_list = self._decorators(node.decorator_list)
        node.body, found = self._within("class", node.body)
        if found:
            node.decorator_list.insert(0, ast.Name(MARK_NAME, ast.Load()))
        return node

    def _decorators(self, decorators: list[ast.expr]) -> list[ast.expr]:
        marked: list[ast.expr] = []
        for decorator in decorators:
            rewritten, found = self._within("decorator", [decorator])
            if found:
                marked.append(ast.Name(MARK_NAME, ast.Load()))
            marked += rewritten
        return marked

    def _within(self, scope: str, nodes: list) -> tuple[list, bool]:
        """Visits `nodes` within `scope`; also: was a comparison of just this scope rewritten?"""
        before = len(self.sites)
        self.scopes.append(scope)
        nodes = [self.visit(node) for node in nodes]
        self.scopes.pop()
        return nodes, any(site.scope == scope for site in self.sites[before:])


class NeutralisingFinder:
    """Loads Keras's test files rewritten; stands first in `sys.meta_path`, before pytest's hook.

    It takes the modules under `source` (the folder `keras/src`) whose name ends in `_test` and, if
    `helpers`, the package `keras.src.testing` (its `test_case.py` leaves out a training step). Both
    get pytest's assertion rewriting too. No bytecode is read or written: pytest's cache beside the
    files may hold the text as it was.
    """

    def __init__(self, source: Path, helpers: bool, config: pytest.Config, reached: Callable):
        self.source, self.helpers, self.config, self.reached = source, helpers, config, reached

    def find_spec(self, fullname, path=None, target=None):
        helper = self.helpers and fullname.startswith("keras.src.testing.")
        if not helper and not fullname.rpartition(".")[2].endswith("_test"):
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        if spec is None or spec.origin is None or not _inside(spec.origin, self.source):
            return None
        loader = _Loader(fullname, spec.origin, self.config, self.reached)
        return importlib.util.spec_from_file_location(fullname, spec.origin, loader=loader)

    def install(self) -> None:
        sys.meta_path.insert(0, self)


def _inside(file: str, folder: Path) -> bool:
    return file.endswith(".py") and Path(file).resolve().is_relative_to(folder.resolve())


class _Loader(importlib.machinery.SourceFileLoader):
    def __init__(self, fullname: str, path: str, config: pytest.Config, reached: Callable):
        super().__init__(fullname, path)
        self.config, self.reached = config, reached
        self.in_module = False

    def get_code(self, fullname):
        return self.source_to_code(self.get_data(self.path), self.path)

    def source_to_code(self, data, path, *, _optimize=-1):
        tree = ast.parse(data, path)
        self.in_module = any(site.scope == "module" for site in neutralise(tree))
        rewrite_asserts(tree, data, path, self.config)
        return compile(tree, path, "exec", dont_inherit=True, optimize=_optimize)

    def exec_module(self, module):
        setattr(module, MARK_NAME, getattr(pytest.mark, MARK))
        setattr(module, REACHED_NAME, self.reached)
        super().exec_module(module)
        setattr(module, MODULE_FLAG, self.in_module)
