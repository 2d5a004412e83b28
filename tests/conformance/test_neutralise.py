"""Which comparisons with the name "openvino" are rewritten, to what, and how that is counted."""

import ast
import importlib
import sys

import pytest

from tests.conformance.neutralise import (
    MARK,
    MARK_NAME,
    REACHED_NAME,
    NeutralisingFinder,
    named_comparisons,
    neutralise,
)
from tests.conformance.plugin import conftest_module


@pytest.fixture(autouse=True)
def known_mark(request):
    request.config.addinivalue_line("markers", MARK)


@pytest.mark.parametrize(
    ("comparison", "neutral"),
    [
        ('backend.backend() == "openvino"', "False"),
        ('"openvino" == backend()', "False"),
        ('keras.config.backend() != "openvino"', "True"),
        ('backend.backend() in ("numpy", "openvino")', "backend.backend() in ('numpy',)"),
        ('backend.backend() in ["openvino"]', "False"),
        ('backend.backend() not in {"openvino"}', "True"),
        ('backend.backend() not in ("openvino", "numpy")', "backend.backend() not in ('numpy',)"),
        ('backend() == "openvino" or uses_gpu()', "False or uses_gpu()"),
    ],
)
def test_rewritten(comparison, neutral):
    tree = ast.parse(comparison)
    (site,) = neutralise(tree)
    assert ast.unparse(tree) == neutral
    assert (site.line, site.scope) == (1, "module")


def test_a_table_of_the_backends_that_train():
    tree = ast.parse('{"tensorflow": "CPU:0", "jax": "cpu:0", "torch": "cpu"}')
    (site,) = neutralise(tree)
    assert ast.literal_eval(tree.body[0].value)["openvino"] == "cpu"
    assert (site.line, site.scope) == (1, "module")
    within = ast.parse('def f():\n    return {"tensorflow": 1, "jax": 2, "torch": 3}[backend()]')
    neutralise(within)
    names = {"backend": lambda: "openvino", REACHED_NAME: lambda value: value + 10}
    exec(compile(within, "within", "exec"), names)
    assert names["f"]() == 13


@pytest.mark.parametrize(
    "source",
    [
        '{"tensorflow": 1, "torch": 2}',
        '{"tensorflow": 1, "jax": 2, "torch": 3, "openvino": 4}',
        "{**defaults, 'jax': 2}",
        'backend.backend() in ("tensorflow", "openvino")',
        'backend.backend() not in ("jax", "openvino")',
        'backend.backend() == "numpy"',
        'format == "openvino"',
        'backend(x) == "openvino"',
        "backend.backend() in names",
        'if backend() == "jax":\n    import a\nelif backend() == "openvino":\n    from b import c',
    ],
)
def test_left(source):
    tree = ast.parse(source)
    before = ast.unparse(tree)
    assert neutralise(tree) == []
    assert ast.unparse(tree) == before


def test_import_selection_hides_nothing_below():
    source = 'if backend() == "openvino":\n    import a\nelse:\n    x = backend() == "openvino"'
    tree = ast.parse(source)
    assert [site.line for site in neutralise(tree)] == [4]
    assert [line for line, _ in named_comparisons(ast.parse(source))] == [1, 4]


SOURCE = """
import pytest

def backend():
    return "openvino"

@pytest.mark.skipif(backend() == "openvino", reason="class")
class Decorated:
    pass

class Body:
    if backend() == "openvino":
        dtypes = ()
    else:
        dtypes = ("complex64",)

    @pytest.mark.skipif(backend() == "openvino", reason="method")
    def method(self):
        pass

class Methods:
    @pytest.mark.skipif(backend() in ("numpy", "openvino"), reason="method")
    def decorated(self):
        pass

    def branch(self):
        return "named" if backend() == "openvino" else "neutral"

    def plain(self):
        return backend() == "numpy"
"""


def run(source, reached):
    tree = ast.parse(source)
    neutralise(tree)
    names = {MARK_NAME: getattr(pytest.mark, MARK), REACHED_NAME: reached}
    exec(compile(tree, "source", "exec"), names)
    return names


def marks(value):
    found = value.__dict__.get("pytestmark", [])
    return [mark.args if mark.name == "skipif" else mark.name for mark in found]


def test_counting():
    calls = []
    names = run(SOURCE, lambda value: calls.append(value) or value)
    assert sorted(marks(names["Decorated"]), key=str) == [(False,), MARK]
    assert names["Body"].dtypes == ("complex64",)
    assert marks(names["Body"]) == [MARK]
    methods = names["Methods"]
    assert marks(methods) == []  # a decorator of its method does not mark the class
    assert MARK in marks(methods.decorated) and (False,) in marks(methods.decorated)
    assert marks(methods.branch) == marks(methods.plain) == []
    assert calls == []
    assert methods().branch() == "neutral"
    assert calls == [False]
    assert methods().plain() is False
    assert calls == [False]


def test_finder_rewrites_test_files_only(tmp_path, monkeypatch, request):
    text = 'def backend():\n    return "openvino"\n\nnamed = backend() == "openvino"\n'
    text += "def check():\n    assert [1, 2] == [1, 3]\n"
    for name in ("finder_case_test", "finder_case_module"):
        (tmp_path / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    NeutralisingFinder(tmp_path, False, request.config, lambda value: value).install()
    rewritten = importlib.import_module("finder_case_test")
    plain = importlib.import_module("finder_case_module")
    assert (rewritten.named, plain.named) == (False, True)
    with pytest.raises(AssertionError, match="At index 1 diff: 2 != 3"):  # pytest's rewriting
        rewritten.check()
    assert not list(tmp_path.glob("__pycache__/finder_case_test*"))


def test_conftest_skips_nothing():
    mark = conftest_module(neutralise=True).skip_if_backend("openvino", "why")
    assert mark.name == MARK
    other = conftest_module(neutralise=True).skip_if_backend("torch", "why")
    assert (other.name, other.args) == ("skipif", (False,))


def test_conftest_skips_when_asked_to():
    mark = conftest_module(neutralise=False).skip_if_backend("openvino", "why")
    assert (mark.name, mark.args, mark.kwargs) == ("skipif", (True,), {"reason": "why"})
