"""The door to Keras: each of its rows against the installed Keras, and that there is no other."""

import ast
import gc
import logging
import pathlib
import re
import threading
import weakref

import keras
import numpy as np
import pytest
from keras import layers, ops
from packaging.specifiers import SpecifierSet

import kerasvino
from kerasvino.backend import keras_private, layer_calls
from kerasvino.backend.keras_private import (
    CONTAINERS,
    IMITATED,
    MISREADING_LENGTHS,
    NAMES,
    PATCHES,
    SCOPES,
    WATCHED,
    WHEN_DISTRIBUTED,
    global_state,
    imitated,
    sources,
)
from kerasvino.backend.keras_private.names import Name
from kerasvino.backend.source_digest import digest, digest_of_files

ROOT = pathlib.Path(kerasvino.__file__).parent
KERAS = pathlib.Path(keras.__file__).parent / "src"


def installed(rows):
    return [
        pytest.param(row, id=getattr(row, "key", row.where))
        for row in rows
        if SpecifierSet(row.versions).contains(keras.__version__, prereleases=True)
    ]


@pytest.mark.parametrize("row", installed(NAMES + MISREADING_LENGTHS + WATCHED + CONTAINERS))
def test_a_name_is_there(row):
    assert row.probe(row)


def test_a_probe_can_fail():
    for probe in {row.probe for row in NAMES}:
        assert not probe(Name("keras.src.layers.layer:Layer._no_such", ""))


@pytest.mark.parametrize("row", installed(SCOPES))
def test_a_scope_sets_its_key(row):
    def state():
        return global_state.GLOBAL_STATE_TRACKER.__dict__.get(row.key)

    assert not state()
    assert not layer_calls.is_surrounded()
    with row.opened(keras_private.at(row.where)):
        assert state()
        assert layer_calls.is_surrounded()
    assert not state()


def test_the_call_of_a_layer_sets_its_key():
    class Mine(layers.Layer):
        def call(self, x):
            assert layer_calls.is_surrounded()
            return x

    assert not layer_calls.is_surrounded()
    Mine()(ops.ones((1,)))
    assert not layer_calls.is_surrounded()


@pytest.mark.parametrize("row", installed(PATCHES))
def test_a_method_is_replaced(row):
    if row.where.startswith("keras_hub."):
        pytest.importorskip("keras_hub")
    method = keras_private.at(row.where)
    assert pathlib.Path(method.__code__.co_filename).is_relative_to(ROOT)
    package = "keras_hub" if row.where.startswith("keras_hub.") else str(KERAS)
    assert package in method.__wrapped__.__code__.co_filename


@pytest.mark.parametrize("row", installed(WHEN_DISTRIBUTED))
def test_what_is_replaced_when_processes_join_is_there(row):
    assert callable(keras_private.at(row.where))


@pytest.mark.parametrize("row", [*NAMES, *MISREADING_LENGTHS, *SCOPES, *PATCHES, *WHEN_DISTRIBUTED])
def test_a_row_says_which_versions_it_is_for(row):
    assert SpecifierSet(row.versions)


def test_what_is_not_there_is_said():
    with pytest.raises(AttributeError, match="no_such"):
        keras_private.no_such  # noqa: B018
    assert keras_private.Layer is layers.Layer
    with pytest.raises(AttributeError):  # it is replaced as the program runs: never handed out
        keras_private.GLOBAL_STATE_TRACKER  # noqa: B018


def test_a_name_that_keras_lost_is_an_import_error(monkeypatch):
    monkeypatch.setattr(keras_private, "NAMES", (Name("keras.src.layers.layer:gone", ""),))
    with pytest.raises(ImportError, match=r"no keras\.src\.layers\.layer:gone"):
        keras_private.gone  # noqa: B018


# -- no other way to Keras

DOOR = ROOT / "backend" / "keras_private"
# What imports Keras before the door can, or looks at how it is installed: by public names.
WITHOUT_THE_DOOR = ("activate.py", "cli")
# The layers that know Keras.
KNOWING = [
    path.relative_to(ROOT).as_posix()
    for layer in ("backend", "export", "profiling")
    for path in sorted((ROOT / layer).rglob("*.py"))
    if DOOR not in path.parents
]


def _source(file):
    return ast.parse((ROOT / file).read_text())


def test_no_file_imports_private_names_of_keras():
    wrong = []
    for path in ROOT.rglob("*.py"):
        if DOOR in path.parents:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            if any(name == "keras.src" or name.startswith("keras.src.") for name in names):
                wrong.append(f"{path.relative_to(ROOT)}:{node.lineno} imports {names}")
    assert not wrong, "\n".join(wrong)


# Private names that are not Keras's: of our tensors, traces and layers, between files of ours; and
# of Python, NumPy's structured dtypes and einops.
OURS = {
    "_array", "_assignments", "_build_to_train", "_call_for_inference", "_checked_call",
    "_eager_compiled",
    "_get_complex_tensor_from_tuple", "_global", "_kerasvino_built_as_of", "_refusal", "_restate",
    "_state", "_track_loss", "_wrap",
    "_fields", "_loaded_backends",
}  # fmt: skip


@pytest.mark.parametrize("file", KNOWING)
def test_private_attributes_have_a_row(file):
    tree = _source(file)
    known = {row.name for row in NAMES} | OURS
    known |= {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    for node in ast.walk(tree):  # those of a class or of the module of this file
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            known.add(node.attr)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            known.add(node.id)
    private = re.compile("_[a-z][a-z_]*")
    text = {
        part for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values
    }
    for node in set(ast.walk(tree)) - text:
        used = node.attr if isinstance(node, ast.Attribute) else getattr(node, "value", None)
        if isinstance(used, str) and private.fullmatch(used):
            assert used in known, f"{file}:{node.lineno} uses {used}: give it a row in NAMES"


def _rebound():
    """The module attributes that functions of Keras assign, as (module, name)."""
    for path in KERAS.rglob("*.py"):
        text = path.read_text()
        if "global " in text and not path.name.endswith("_test.py"):
            module = ".".join(["keras.src", *path.relative_to(KERAS).with_suffix("").parts])
            for names in re.findall(r"^\s+global (\w+(?:, \w+)*)$", text, re.MULTILINE):
                yield from ((module, name) for name in names.split(", "))


def test_nothing_is_held_that_keras_replaces():
    rebound = set(_rebound())
    assert ("keras.src.backend.common.global_state", "GLOBAL_STATE_TRACKER") in rebound
    assert ("keras.src.backend.config", "_FLOATX") in rebound
    held = {tuple(row.where.split(":")) for row in NAMES if row.is_imported}
    assert not held & rebound
    names = {name for _, name in rebound}
    wrong = [
        f"{path.relative_to(ROOT)}:{node.lineno} imports {alias.name}"
        for path in ROOT.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("keras.")
        for alias in node.names
        if alias.name in names
    ]
    assert not wrong, "\n".join(wrong)


def test_nothing_refers_to_what_was_replaced():
    """After programs of all kinds were made, which read variables, scopes and random numbers."""
    model = keras.Sequential([keras.Input((3,)), layers.Dense(1), layers.Dropout(0.5)])
    model.compile("sgd", "mse")
    x = np.ones((4, 3), "float32")
    noise = kerasvino.jit(lambda x: model(x) + keras.random.normal((1,)))
    for _ in range(4):
        model.fit(x, x[:, :1], verbose=0)
        model.predict(x, verbose=0)
        model(x)
        noise(x)
    state = global_state.GLOBAL_STATE_TRACKER
    generator = weakref.ref(state.__dict__["global_seed_generator"])
    keras.utils.clear_session()
    assert global_state.GLOBAL_STATE_TRACKER is not state
    assert not [type(held) for held in gc.get_referrers(state)]
    del state
    gc.collect()
    assert generator() is None


# -- imitated sources


@pytest.fixture
def fresh(monkeypatch):
    """Nothing is known yet of the installed sources and classes; as before afterwards."""
    sources._imitated.cache_clear()
    monkeypatch.setattr(layer_calls, "_known", {})
    yield
    sources._imitated.cache_clear()


@pytest.mark.parametrize("what", IMITATED)
def test_the_installed_source_is_known(what, fresh):
    if what == "sampling":
        pytest.importorskip("keras_hub")
    row, source = IMITATED[what], imitated(what)
    found = digest([keras_private.at(where) for where in row.where])
    assert source is not None, f"Read {row.where} of this Keras, then add {found} to its sources."


@pytest.mark.parametrize("what", IMITATED)
def test_the_files_of_the_installed_source_are_known(what, fresh):
    """Then the functions in them are not parsed, which takes ten times as long."""
    if what == "sampling":
        pytest.importorskip("keras_hub")
    row, source = IMITATED[what], imitated(what)
    files = digest_of_files([keras_private.at(where) for where in row.where])
    assert files in source.files, f"Add {files} to the files of this source."
    assert all(version.strip() for version in source.keras.split(","))
    assert len(source.files) == len(source.keras.split(","))


def _another(self, arg_name, call_spec, call_context, kwargs):
    kwargs[arg_name] = call_spec.user_arguments_dict.get(arg_name, True)


def _without_source():
    namespace = {}
    exec("def function(self):\n    return None", namespace)
    return namespace["function"]


@pytest.mark.parametrize("other", [_another, _without_source()])
def test_calls_are_whole_where_the_source_is_another(other, fresh, monkeypatch, caplog):
    def noted(layer, spec):
        built.append(layer.name)

    built = []
    dense = layers.Dense(2, name="inner")
    x = ops.ones((1, 3))
    model = keras.Sequential([keras.Input((3,)), dense])
    model.compile(run_eagerly=True)
    monkeypatch.setattr(layers.Layer, "_maybe_build", noted)
    monkeypatch.setattr(sources, "digest", lambda parts: digest([other]))
    with caplog.at_level(logging.DEBUG, "kerasvino"):
        for _ in range(4):
            dense(x)
            model(x)
    assert built.count("inner") == 8
    assert [r.levelname for r in caplog.records if "another source" in r.message] == ["DEBUG"]


@pytest.mark.parametrize("known", [False, True])
def test_models_are_eager_where_scopes_cannot_be_seen(known, fresh, monkeypatch):
    if not known:
        monkeypatch.setitem(IMITATED, "scopes", IMITATED["scopes"]._replace(known={}))
    model = keras.Sequential([keras.Input((3,)), layers.Dense(2)])
    traced = []
    monkeypatch.setattr(layers.Dense, "call", _noting(layers.Dense.call, traced))
    for _ in range(5):
        model(ops.ones((1, 3)))
    assert any(traced) == known


def _noting(call, traced):
    def noted(self, x, training=None):
        traced.append(x.is_symbolic)
        return call(self, x)

    noted.__module__ = call.__module__
    return noted


def test_a_method_replaced_by_the_user_counts(fresh, monkeypatch):
    monkeypatch.setattr(layers.Layer, "_resolve_and_populate_arg", _another)
    assert imitated("call") is None
    assert imitated("scopes") is not None


def test_threads_learn_of_a_source_once(fresh, monkeypatch, caplog):
    monkeypatch.setitem(IMITATED, "call", IMITATED["call"]._replace(known={}))
    start = threading.Barrier(8)

    def ask():
        start.wait()
        imitated("call")

    with caplog.at_level(logging.DEBUG, "kerasvino"):
        threads = [threading.Thread(target=ask) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(caplog.records) == 1


@pytest.mark.parametrize("hands_on", [False, True])
def test_defaults_of_training_are_handed_on_as_the_source_does(hands_on, fresh, monkeypatch):
    """Keras 3.15 hands them on to later layers; 3.16 does not."""
    known = {key: value._replace(hands_on_defaults=hands_on) for key, value in _calls_known()}
    monkeypatch.setitem(IMITATED, "call", IMITATED["call"]._replace(known=known))

    class Outer(layers.Layer):
        def __init__(self):
            super().__init__()
            self.drop = layers.Dropout(0.5)
            self.flip = layers.RandomFlip("horizontal", seed=1)  # trains by default

        def call(self, x):
            return self.flip(self.drop(x))

    outer = Outer()
    x = np.arange(16, dtype="float32").reshape(1, 4, 4, 1)
    outer(x)
    outputs = {np.asarray(outer(x)).tobytes() for _ in range(20)}
    assert len(outputs) == (1 if hands_on else 2)


def _calls_known():
    return IMITATED["call"].known.items()
