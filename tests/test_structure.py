"""The direction of imports between layers, and what only one layer may do."""

import ast
import graphlib
import pathlib

import pytest

import kerasvino

ROOT = pathlib.Path(kerasvino.__file__).parent

# Layer: the layers that it may import, beside `errors`. Everything else of ours is forbidden to it.
MAY_IMPORT = {
    "_version": set(),
    "errors": set(),
    "locks": set(),
    "files": set(),
    "dtypes": set(),
    "tensor": {"dtypes"},
    "distribution": set(),
    "traced": {"tensor"},
    "graph": {"dtypes", "tensor"},
    "nodes": {"dtypes", "tensor", "graph"},
    "primitives": {"dtypes", "tensor", "traced", "graph", "nodes"},
    "passes": {"dtypes", "graph", "nodes"},
    "autodiff": {"dtypes", "tensor", "graph", "nodes", "primitives"},
    # runtime registers at start-up the function by which primitives reach it
    "runtime": {
        "_version", "distribution", "dtypes", "files", "tensor", "graph", "nodes", "passes",
        "primitives.core", "primitives.operation_errors",
    },
    "backend": {
        "distribution", "dtypes", "files", "tensor", "graph", "nodes", "primitives", "autodiff",
        "runtime",
    },
    "generate": {"graph", "tensor", "primitives", "runtime", "backend"},
    "export": {
        "_version", "dtypes", "files", "tensor", "graph", "nodes", "passes", "primitives",
        "runtime", "backend", "generate",
    },
    "profiling": {
        "_version", "graph", "primitives.core", "runtime", "backend.keras_private",
        "backend.training", "generate", "export",
    },
    "quantizing": {
        "dtypes", "graph", "passes", "runtime", "backend.calibrated", "backend.keras_private",
        "backend.training", "export", "profiling.attribution",
    },
    "ray": {"runtime", "backend.keras_private", "backend.shared_weights"},
    "children": set(),
    "startup": set(),
    "activate": {"_version", "children"},
}  # fmt: skip


def _sources():
    for path in sorted(ROOT.rglob("*.py")):
        yield path, ast.parse(path.read_text())


def _layer(path):
    return path.relative_to(ROOT).with_suffix("").parts[0]


def _imports(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.level:  # within one package
                continue
            for alias in node.names:
                yield node.lineno, f"{node.module}.{alias.name}"
    for call in _calls_of_import(tree):
        if isinstance(call.args[0], ast.Constant):
            yield call.lineno, call.args[0].value


def _calls_of_import(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = getattr(node.func, "attr", getattr(node.func, "id", None))
            if name in ("import_module", "__import__"):
                yield node


def test_layers_import_only_what_lies_below_them():
    wrong = []
    for path, tree in _sources():
        layer = _layer(path)
        if layer not in MAY_IMPORT:
            continue
        for line, name in _imports(tree):
            parts = name.split(".")
            if (
                parts[0] != "kerasvino"
                or len(parts) < 2
                or parts[1] in (layer, "__version__", "errors", "locks")
            ):
                continue
            allowed = MAY_IMPORT[layer]
            if parts[1] not in allowed and ".".join(parts[1:3]) not in allowed:
                wrong.append(f"{path.relative_to(ROOT)}:{line} imports {name}")
    assert not wrong, "\n".join(wrong)


def _module(path):
    """The dotted name of a file of ours."""
    return ".".join(["kerasvino", *path.relative_to(ROOT).with_suffix("").parts]).removesuffix(
        ".__init__"
    )


def _imported_files():
    """For each file of ours, by its dotted name, those that it imports, within functions too."""
    trees = {_module(path): tree for path, tree in _sources()}

    def files(tree):
        for _, name in _imports(tree):
            # `from package import name` is of the file `name` where there is one, else of `package`
            yield name if name in trees else name.rpartition(".")[0]

    return {module: (set(files(tree)) & trees.keys()) - {module} for module, tree in trees.items()}


def test_no_files_import_each_other_in_a_circle():
    try:
        graphlib.TopologicalSorter(_imported_files()).prepare()
    except graphlib.CycleError as error:
        pytest.fail(" <- ".join(error.args[1]))


# Files that import by a computed name, of which the test above knows nothing.
COMPUTED = {
    "__init__.py": "public names, when they are first used",
    "activate.py": "the import hook",
    "backend/extensions/__init__.py": "what runs once another library is imported",
    "backend/keras_private/names.py": "names of Keras",
    "cli/__init__.py": "the command that is given",
    "cli/models.py": "the packages that a saved model needs",
}


def test_imports_are_written_as_imports():
    found = {
        str(path.relative_to(ROOT))
        for path, tree in _sources()
        for call in _calls_of_import(tree)
        if not isinstance(call.args[0], ast.Constant)
    }
    assert found == set(COMPUTED)


def test_layers_below_the_backend_do_not_know_keras():
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for path, tree in _sources()
        if _layer(path)
        in ("dtypes", "tensor", "graph", "nodes", "primitives", "passes", "autodiff", "runtime")
        for line, name in _imports(tree)
        if name.split(".")[0] == "keras"
    ]
    assert not wrong, "\n".join(wrong)


def test_only_those_that_write_nodes_import_an_opset():
    wrong = [
        f"{path.relative_to(ROOT)}:{line}"
        for path, tree in _sources()
        if _layer(path) not in ("nodes", "primitives", "passes")
        for line, name in _imports(tree)
        if name.startswith("openvino.opset") or name == "kerasvino.nodes.lowering.ov"
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("call", ["compile_model", "create_infer_request", "infer", "start_async"])
def test_only_runtime_compiles_or_infers(call):
    wrong = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path, tree in _sources()
        if _layer(path) not in ("runtime", "cli")
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == call
    ]
    assert not wrong, "\n".join(wrong)


def test_files_stay_small():
    long = {
        str(path.relative_to(ROOT)): count
        for path, _ in _sources()
        if (count := len(path.read_text().splitlines())) > 600
    }
    assert not long
