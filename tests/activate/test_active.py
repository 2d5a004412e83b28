"""`is_active()`: what a library is told of the backend, without importing Keras."""

import pytest

ACTIVE = "from kerasvino.activate import is_active"
NO_KERAS = "assert not [n for n in sys.modules if n.startswith('keras.')]"


def test_before_and_after_keras_is_imported(program):
    text = f"""
        import sys, kerasvino
        {ACTIVE}
        print(is_active())
        {NO_KERAS}
        import keras
        print(is_active(), keras.backend.backend())
    """
    assert program(text) == "True\nTrue openvino\n"


def test_while_keras_is_being_imported(program):
    text = """
        import sys, kerasvino
        class Asks:
            answers = {}
            def find_spec(self, name, path, target=None):
                if name.startswith("keras"):
                    from kerasvino.activate import is_active
                    self.answers[name] = is_active()
        sys.meta_path.insert(0, Asks())
        import keras
        print(set(Asks.answers.values()), len(Asks.answers) > 5)
    """
    assert program(text) == "{True} True\n"


def test_another_backend_named_meanwhile(program):
    text = f"""
        import os, sys, kerasvino
        {ACTIVE}
        os.environ['KERAS_BACKEND'] = 'jax'
        print(is_active())
        del os.environ['KERAS_BACKEND']
        print(is_active())
        {NO_KERAS}
    """
    assert program(text) == "False\nTrue\n"


def test_an_overruled_backend(program):
    text = """
        import os, sys, kerasvino
        from kerasvino.activate import activate, is_active
        activate(overrule=True)
        os.environ['KERAS_BACKEND'] = 'jax'
        print(is_active())
        del os.environ['KERAS_BACKEND']
        import keras
        print(is_active())
    """
    assert program(text) == "True\nTrue\n"


@pytest.mark.parametrize("backend", ["jax", "openvino"])
def test_keras_already_runs_on_another_backend(program, backend):
    text = """
        import sys, keras
        try:
            import kerasvino
        except RuntimeError:
            print(sys.modules['kerasvino.activate'].is_active())
    """
    assert program(text, KERAS_BACKEND=backend) == "False\n"


def test_keras_goes_to_another_backend_and_comes_back(program):
    text = """
        import os, sys, kerasvino, keras
        def set_backend(name):
            os.environ['KERAS_BACKEND'] = name
            for key in [key for key in sys.modules if key.startswith('keras')]:
                del sys.modules[key]
            import keras
        set_backend('jax')
        print('kerasvino' in sys.modules)
        set_backend('openvino')
        from kerasvino.activate import is_active
        print(is_active())
        os.environ['KERAS_BACKEND'] = 'jax'
        print(is_active())
    """
    assert program(text) == "False\nTrue\nTrue\n"


def test_without_the_import_hook(program):
    text = f"""
        import sys, kerasvino
        {ACTIVE}
        sys.meta_path[:] = [f for f in sys.meta_path if type(f).__module__ != 'kerasvino.activate']
        print(is_active())
    """
    assert program(text) == "False\n"


def test_with_the_command_line(python, tmp_path):
    (tmp_path / "program.py").write_text(
        f"import os, sys\n{ACTIVE}\nprint(is_active())\nimport keras\nprint(is_active())\n"
    )
    done = python("-m", "kerasvino", "program.py")
    assert (done.stdout, done.stderr) == ("True\nTrue\n", "")
