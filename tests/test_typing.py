"""What editors and type checkers know of the package is what there is."""

import ast
import inspect
import pathlib
import pydoc
import shutil
import subprocess
import sys

import pytest

import kerasvino
from kerasvino.backend.ops.numpy import updates

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parent
EXAMPLE = HERE / "typing" / "public_surface.py"
STUB = ast.parse(pathlib.Path(kerasvino.__file__).with_name("tensor.pyi").read_text())

WRONG = """
import kerasvino
from kerasvino import Tensor, config

def wrong(x: Tensor) -> int:
    config.sets(device="cpu")
    x.reshaped(3)
    kerasvino.profil(1, 2)
    return x + 1
"""


def classes():
    return {node.name: node for node in STUB.body if isinstance(node, ast.ClassDef)}


def methods(name):
    return {n.name: n for n in classes()[name].body if isinstance(n, ast.FunctionDef)}


def names_of(function):
    """The names of its arguments but the first, those of * and ** among them."""
    arguments = function.args
    every = [*arguments.posonlyargs, *arguments.args, arguments.vararg, *arguments.kwonlyargs]
    return [one.arg for one in [*every, arguments.kwarg] if one is not None][1:]


def public(cls):
    return {name for name in dir(cls) if not name.startswith("_")}


def test_the_stub_has_every_method_of_a_tensor():
    annotated = {n.target.id for n in classes()["Tensor"].body if isinstance(n, ast.AnnAssign)}
    stub = set(methods("Tensor"))
    assert {n for n in stub | annotated if not n.startswith("_")} == public(kerasvino.Tensor)
    assert {n for n in methods("_Place") if n[0] != "_"} == public(updates._Place)
    operators = {
        n
        for n in dir(kerasvino.Tensor)
        if n.startswith("__") and getattr(kerasvino.Tensor, n) is not getattr(object, n, None)
    }
    # that a checker need not know, or that refuse
    internal = {
        "__annotations__", "__array_priority__", "__copy__", "__deepcopy__", "__doc__",
            "__format__", "__module__",
        "__reduce__", "__repr__", "__setitem__", "__slots__", "__weakref__", "__dict__",
        "__init_subclass__", "__subclasshook__", "__rxor__",
    }  # fmt: skip
    assert operators - internal <= stub
    assert {n for n in stub if n.startswith("__")} <= operators | {"__hash__"}


@pytest.mark.parametrize("name", sorted(methods("Tensor")))
def test_the_stub_names_the_arguments(name):
    found = inspect.getattr_static(kerasvino.Tensor, name)
    node = methods("Tensor")[name]
    if isinstance(found, property):
        assert [d.id for d in node.decorator_list] == ["property"]
        return
    if name.startswith("__") and "__array" not in name and "__dl" not in name:
        return  # operators, called by Python with what it wants
    signature = inspect.signature(found)
    assert names_of(node) == list(signature.parameters)[1:]
    defaults = [p.default for p in signature.parameters.values() if p.default is not p.empty]
    given = [d for d in [*node.args.defaults, *node.args.kw_defaults] if d is not None]
    assert [ast.literal_eval(d) for d in given] == defaults


def checked(tool, path):
    return subprocess.run([*tool, str(path)], capture_output=True, text=True, cwd=ROOT, timeout=600)


def tools():
    yield pytest.param(
        [sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent", "--config-file="],
        id="mypy",
    )
    found = shutil.which("pyright")
    skip = pytest.mark.skipif(found is None, reason="pyright is not installed")
    yield pytest.param([found, "--pythonpath", sys.executable], id="pyright", marks=skip)


@pytest.mark.parametrize("tool", list(tools()))
def test_a_type_checker_finds_nothing_wrong(tool, tmp_path):
    if "mypy" in tool:
        pytest.importorskip("mypy")
        tool = [*tool, f"--cache-dir={tmp_path}"]
    done = checked(tool, EXAMPLE)
    assert done.returncode == 0, done.stdout + done.stderr
    mistakes = tmp_path / "mistakes.py"
    mistakes.write_text(WRONG)
    said = checked(tool, mistakes).stdout
    for line in (6, 7, 8, 9):
        assert f"mistakes.py:{line}:" in said, said


def test_the_package_says_that_it_is_typed():
    assert pathlib.Path(kerasvino.__file__).with_name("py.typed").read_text() == ""


def test_type_checkers_are_told_each_lazy_name():
    tree = ast.parse(pathlib.Path(kerasvino.__file__).read_text())
    (block,) = (n for n in tree.body if isinstance(n, ast.If))
    told = {alias.asname: node.module for node in block.body for alias in node.names}
    assert set(told) == set(kerasvino._LAZY)
    for name, module in told.items():
        assert kerasvino._LAZY[name].removesuffix(f".{name}") == module.removesuffix(f".{name}")


def test_help_shows_the_whole_public_surface():
    text = pydoc.plain(pydoc.render_doc(kerasvino))
    for name in {*kerasvino.__all__} - {"__version__"}:
        assert name in text, name
    assert f"VERSION\n    {kerasvino.__version__}\n" in text


def test_completion():
    rlcompleter = pytest.importorskip("rlcompleter")
    completer = rlcompleter.Completer({"kerasvino": kerasvino})
    found = set()
    for state in range(200):
        text = completer.complete("kerasvino.", state)
        if text is None:
            break
        found.add(text.rstrip("()").removeprefix("kerasvino."))
    assert found >= {name for name in kerasvino.__all__ if not name.startswith("_")}
