"""One module object under all its names, executed once, whichever is imported first."""

import pytest

VERSIONS = ["3.15.1", "3.16.0.dev1"]


@pytest.fixture(autouse=True, params=VERSIONS)
def version_of_keras(request, monkeypatch):
    monkeypatch.setenv("STAND_IN_KERAS", request.param)
    return request.param


ENTRIES = [
    "import keras",
    "import keras.src.backend.openvino",
    "import keras.src.backend.openvino.rnn",
    "import keras.src.backend.openvino.numpy.elementwise",
    "from keras.src.backend import openvino",
    "import keras_openvino",
    "import keras_openvino.src",
    "import keras_openvino.src.ops",
    "import keras_openvino.src.ops.numpy",
    "import keras_openvino.src.ops.numpy.elementwise",
    "from keras_openvino.src import trainer",
    "from keras.src.backend.common import variables",
    "import kerasvino.backend",
    "import kerasvino.backend.rnn",
    "import kerasvino.backend.ops.numpy.elementwise",
    "import kerasvino.backend.numpy.elementwise",
    "import kerasvino.backend.core",
    "import kerasvino.backend.trainer",
    "from kerasvino.backend import trainer",
    "import importlib; importlib.import_module('keras.src.backend.openvino.trainer')",
]

CHECK = """
        import importlib
        import keras, keras.src.backend.openvino.core
        import kerasvino.backend
        import keras_openvino.src.ops.core
        NAMES = ['', '.ops', '.ops.core', '.ops.numpy', '.ops.numpy.elementwise',
                 '.rnn', '.layer', '.trainer']
        for name in NAMES:
            module = importlib.import_module('kerasvino.backend' + name)
            others = ['keras.src.backend.openvino' + name, 'keras_openvino.src' + name]
            if name.startswith('.ops.'):  # Keras 3.15's name, and ours before
                others.append('keras.src.backend.openvino' + name.removeprefix('.ops'))
                others.append('kerasvino.backend' + name.removeprefix('.ops'))
            for other in others:
                assert importlib.import_module(other) is module, other
            assert module.__name__ == module.__spec__.name == 'kerasvino.backend' + name
            assert module.__spec__.loader is module.__loader__
            assert module.__spec__.origin == module.__file__
            assert not module.__spec__._initializing
        assert keras.src.backend.openvino is kerasvino.backend
        assert keras_openvino.src is kerasvino.backend
        assert keras_openvino.src.ops.numpy is kerasvino.backend.ops.numpy
        assert keras_openvino.src.ops.core is kerasvino.backend.core
        assert kerasvino.backend.numpy is kerasvino.backend.ops.numpy
        assert keras.src.backend.openvino.numpy.elementwise.add is kerasvino.backend.add
        assert kerasvino.backend.core is keras.src.backend.openvino.core
        assert type(kerasvino.backend.rnn).__name__ == 'function', 'rebound to the submodule'
        assert keras.backend.BackendVariable is kerasvino.backend.ops.core.Variable
        executed = kerasvino.executed
        assert sorted(executed) == sorted('kerasvino.backend' + n for n in NAMES), executed
        print('right')
"""


@pytest.mark.parametrize("first", ENTRIES)
def test_one_module_under_both_names(program, first):
    assert program(f"import kerasvino\n{first}\n{CHECK}") == "right\n"


@pytest.mark.parametrize("name", ["ops.numpy", "numpy", "numpy.elementwise", "core"])
def test_our_names_work_without_importing_kerasvino_first(program, name):
    assert program(f"import kerasvino.backend.{name}\n{CHECK}") == "right\n"


def test_importing_by_the_other_name_leaves_the_functions_bound(program):
    text = """
        import kerasvino, keras
        from keras.src.backend.openvino.rnn import rnn
        import keras.src.backend.openvino.rnn as module
        import importlib
        importlib.import_module('keras.src.backend.openvino.rnn')
        assert keras.src.backend.openvino.rnn is kerasvino.backend.rnn is rnn
    """
    program(text)


def test_from_several_threads(program):
    text = f"""
        import importlib, sys, threading, kerasvino, keras.src.version
        sys.setswitchinterval(1e-6)
        roots = ('keras.src.backend.openvino', 'kerasvino.backend', 'keras_openvino.src')
        names = [root + name for root in roots
                 for name in ('.layer', '.trainer', '.ops.numpy', '.rnn', '.ops.core', '')]
        names += [root + name for root in roots[:2]
                  for name in ('.numpy', '.numpy.elementwise', '.core')]
        start, errors = threading.Barrier(len(names)), []
        def load(name):
            start.wait()
            importlib.import_module(name)
        threads = [threading.Thread(target=load, args=[name]) for name in names]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
        {CHECK}
    """
    assert program(text) == "right\n"


def test_first_import_from_several_threads(program):
    text = f"""
        import sys, threading, kerasvino
        def load(): import keras.src.backend.openvino.core
        threads = [threading.Thread(target=load) for _ in range(8)]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
        {CHECK}
    """
    assert program(text) == "right\n"


def test_our_name_is_imported_while_keras_name_is_looked_up(program):
    # As by another thread: Python then goes on with the spec of what it finds in sys.modules.
    text = f"""
        import sys, kerasvino, keras
        class Other:
            def find_spec(self, name, path=None, target=None):
                if name == 'keras.src.backend.openvino.trainer':
                    import kerasvino.backend.trainer
        sys.meta_path.insert(0, Other())
        import keras.src.backend.openvino.trainer as module
        assert module.OpenvinoLayer
        {CHECK}
    """
    assert program(text) == "right\n"


def test_a_module_that_fails_is_under_neither_name_and_can_be_tried_again(program):
    text = """
        import sys, kerasvino, keras
        names = 'kerasvino.backend.broken', 'keras.src.backend.openvino.broken'
        for name in names * 2:
            try:
                __import__(name)
            except ValueError as error:
                print(error, [n in sys.modules for n in names])
        print(kerasvino.executed.count(names[0]))
    """
    assert program(text) == "on purpose [False, False]\n" * 4 + "4\n"


@pytest.mark.parametrize("root", ["keras.src.backend.openvino", "keras_openvino.src"])
def test_a_module_that_only_the_other_backend_has_is_absent(program, tree, official, root):
    name = f"{root}.only_bundled"
    text = f"""
        import importlib.util, kerasvino, keras
        print(importlib.util.find_spec({name!r}))
        try:
            import {name}
        except ModuleNotFoundError as error:
            print(error)
    """
    assert program(text, path=f"{tree}:{official}") == f"None\nNo module named {name!r}\n"


def test_reload_executes_again_in_place(program):
    text = """
        import importlib, kerasvino, keras
        import keras.src.backend.openvino.numpy.elementwise as module
        assert importlib.reload(module) is module
        assert kerasvino.executed.count('kerasvino.backend.ops.numpy.elementwise') == 2
        assert importlib.import_module('kerasvino.backend.ops.numpy.elementwise') is module
        assert importlib.reload(kerasvino.backend) is keras.src.backend.openvino
        assert kerasvino.executed.count('kerasvino.backend') == 2
    """
    program(text)


def test_keras_dropped_and_imported_anew_takes_our_backend_along(program):
    # else it would keep the classes of the dropped Keras
    text = """
        import sys, kerasvino, keras
        old = kerasvino.backend
        for name in [n for n in sys.modules if n == 'keras' or n.startswith('keras.')]:
            del sys.modules[name]
        import keras, kerasvino.backend
        assert kerasvino.backend is not old
        import keras_openvino.src
        assert keras.src.backend.openvino is kerasvino.backend is keras_openvino.src
        assert keras_openvino.src.ops.core is kerasvino.backend.core
        assert kerasvino.backend.core.KerasVariable is keras.backend.KerasVariable
        assert issubclass(keras.backend.BackendVariable, keras.backend.KerasVariable)
        assert type(kerasvino.backend.rnn).__name__ == 'function'
    """
    program(text)


def test_classes_are_pickled_by_our_name(program, tmp_path):
    text = """
        import pickle, kerasvino, keras
        from keras.src.backend.openvino.core import Variable
        pickle.dump([Variable, Variable()], open('pickled', 'wb'))
    """
    program(text)
    assert b"kerasvino.backend.ops.core" in (tmp_path / "pickled").read_bytes()
    text = """
        import pickle, sys
        kind, value = pickle.load(open('pickled', 'rb'))
        assert type(value) is kind is sys.modules['keras.src.backend.openvino.core'].Variable
    """
    program(text)


PICKLED = {
    "a class": b"ckerasvino.backend.core\nVariable\n.",
    "a function": b"ckerasvino.backend.numpy.elementwise\nadd\n.",
}


@pytest.mark.parametrize("what", PICKLED)
@pytest.mark.parametrize("first", ["pass", "import kerasvino", "import kerasvino, keras"])
def test_pickles_with_earlier_names_are_read(program, what, first):
    text = f"""
        {first}
        import pickle
        found = pickle.loads({PICKLED[what]!r})
        import kerasvino.backend.ops.numpy, kerasvino.backend.ops.core as core
        assert found in (core.Variable, kerasvino.backend.ops.numpy.elementwise.add)
        print(found.__module__)
    """
    expected = "core" if what == "a class" else "numpy.elementwise"
    assert program(text) == f"kerasvino.backend.ops.{expected}\n"


def test_reloading_keras_leaves_the_backend(program):
    text = """
        import importlib, kerasvino, keras
        backend = kerasvino.backend
        importlib.reload(keras)
        assert kerasvino.backend is keras.src.backend.openvino is backend
        assert kerasvino.executed.count('kerasvino.backend') == 1
    """
    program(text)


def test_the_installed_package_of_keras_316_is_not_loaded(program, tree, official):
    text = f"""
        import sys, kerasvino, keras_openvino, keras
        files = [getattr(module, '__file__', None) or '' for module in sys.modules.values()]
        print([file for file in files if file.startswith({str(official)!r})])
        print(keras_openvino.__version__ == kerasvino._version.__version__)
        {CHECK}
    """
    assert program(text, path=f"{tree}:{official}") == "[]\nTrue\nright\n"


def test_tools_see_the_source(program):
    text = """
        import importlib.resources, importlib.util, inspect, pkgutil, kerasvino, keras
        from keras.src.backend.openvino.numpy import elementwise
        assert 'def add(x, y)' in inspect.getsource(elementwise.add)
        assert 'def add' in inspect.getsource(elementwise)
        spec = importlib.util.find_spec('keras.src.backend.openvino.core')
        assert spec.origin.endswith('kerasvino/backend/ops/core.py')
        assert importlib.resources.files('kerasvino.backend.ops').joinpath('core.py').is_file()
        folder = keras.src.backend.openvino.ops.__path__
        assert 'core' in [m.name for m in pkgutil.iter_modules(folder)]
    """
    program(text)


def test_the_hook_loads_nothing_of_keras_or_our_backend(python):
    done = python("-X", "importtime", "-c", "import kerasvino")
    loaded = [line.split("|")[-1].strip() for line in done.stderr.splitlines()]
    assert [name for name in loaded if name.startswith("keras")] == [
        "kerasvino.children",
        "kerasvino._version",
        "kerasvino.activate",
        "kerasvino",
    ]
