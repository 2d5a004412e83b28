"""One module object under both names, executed once, whichever is imported first."""

import pytest

ENTRIES = [
    "import keras",
    "import keras.src.backend.openvino",
    "import keras.src.backend.openvino.rnn",
    "import keras.src.backend.openvino.numpy.elementwise",
    "from keras.src.backend import openvino",
    "from keras.src.backend.common import variables",
    "import kerasvino.backend",
    "import kerasvino.backend.rnn",
    "import kerasvino.backend.numpy.elementwise",
    "import kerasvino.backend.trainer",
    "from kerasvino.backend import trainer",
    "import importlib; importlib.import_module('keras.src.backend.openvino.trainer')",
]

CHECK = """
        import importlib
        import keras, keras.src.backend.openvino.core
        import kerasvino.backend
        NAMES = ['', '.core', '.numpy', '.numpy.elementwise', '.rnn', '.layer', '.trainer']
        for name in NAMES:
            first = importlib.import_module('keras.src.backend.openvino' + name)
            module = importlib.import_module('kerasvino.backend' + name)
            assert module is first, name
            assert module.__name__ == module.__spec__.name == 'kerasvino.backend' + name
            assert module.__spec__.loader is module.__loader__
            assert module.__spec__.origin == module.__file__
            assert not module.__spec__._initializing
        assert keras.src.backend.openvino is kerasvino.backend
        assert keras.src.backend.openvino.numpy.elementwise.add is kerasvino.backend.add
        assert kerasvino.backend.core is keras.src.backend.openvino.core
        assert type(kerasvino.backend.rnn).__name__ == 'function', 'rebound to the submodule'
        assert keras.backend.BackendVariable is kerasvino.backend.core.Variable
        executed = kerasvino.executed
        assert sorted(executed) == sorted('kerasvino.backend' + n for n in NAMES), executed
        print('right')
"""


@pytest.mark.parametrize("first", ENTRIES)
def test_one_module_under_both_names(program, first):
    assert program(f"import kerasvino\n{first}\n{CHECK}") == "right\n"


def test_our_names_work_without_importing_kerasvino_first(program):
    assert program(f"import kerasvino.backend.numpy\n{CHECK}") == "right\n"


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
        names = [root + name for root in ('keras.src.backend.openvino', 'kerasvino.backend')
                 for name in ('.layer', '.trainer', '.numpy', '.rnn', '.numpy.elementwise', '')]
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


def test_a_module_that_only_the_bundled_backend_has_is_absent(program):
    text = """
        import importlib.util, kerasvino, keras
        name = 'keras.src.backend.openvino.only_bundled'
        print(importlib.util.find_spec(name))
        try:
            import keras.src.backend.openvino.only_bundled
        except ModuleNotFoundError as error:
            print(error)
    """
    assert program(text) == f"None\nNo module named '{'keras.src.backend.openvino.only_bundled'}'\n"


def test_reload_executes_again_in_place(program):
    text = """
        import importlib, kerasvino, keras
        import keras.src.backend.openvino.numpy.elementwise as module
        assert importlib.reload(module) is module
        assert kerasvino.executed.count('kerasvino.backend.numpy.elementwise') == 2
        assert importlib.import_module('kerasvino.backend.numpy.elementwise') is module
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
        assert keras.src.backend.openvino is kerasvino.backend
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
    assert b"kerasvino.backend.core" in (tmp_path / "pickled").read_bytes()
    text = """
        import pickle, sys
        kind, value = pickle.load(open('pickled', 'rb'))
        assert type(value) is kind is sys.modules['keras.src.backend.openvino.core'].Variable
    """
    program(text)


def test_tools_see_the_source(program):
    text = """
        import importlib.resources, importlib.util, inspect, pkgutil, kerasvino, keras
        from keras.src.backend.openvino.numpy import elementwise
        assert 'def add(x, y)' in inspect.getsource(elementwise.add)
        assert 'def add' in inspect.getsource(elementwise)
        spec = importlib.util.find_spec('keras.src.backend.openvino.core')
        assert spec.origin.endswith('kerasvino/backend/core.py')
        assert importlib.resources.files('kerasvino.backend').joinpath('core.py').is_file()
        assert 'core' in [m.name for m in pkgutil.iter_modules(keras.src.backend.openvino.__path__)]
    """
    program(text)


def test_the_hook_loads_nothing_of_keras_or_our_backend(python):
    done = python("-X", "importtime", "-c", "import kerasvino")
    loaded = [line.split("|")[-1].strip() for line in done.stderr.splitlines()]
    assert [name for name in loaded if name.startswith("keras")] == [
        "kerasvino._version",
        "kerasvino.activate",
        "kerasvino",
    ]
