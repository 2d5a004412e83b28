"""`python -m kerasvino`: a program runs as under `python`, but on kerasvino."""

import signal
import zipfile

import pytest

from kerasvino.cli.commands import COMMANDS

SHOW = """
        import sys, __main__
        names = ['__name__', '__package__', '__doc__', '__cached__', '__file__']
        print([globals().get(name, '-') for name in names], type(__builtins__).__name__)
        print(type(__loader__).__name__, __spec__ and (__spec__.name, __spec__.origin))
        print(sys.argv, sys.path[0], vars(__main__) is globals(), sys.modules['__main__'])
        if {relative}:
            from . import sibling
        else:
            import sibling
        print(sibling.__name__)
"""

# Programs that must print the same and end the same under both, by what they are about.
PROGRAMS = {
    "exit-code": "import sys; sys.exit(3)",
    "exit-message": "raise SystemExit('a message')",
    "exit-none": "print(1)\nraise SystemExit",
    "exception": "def f():\n    1 / 0\nprint('before')\nf()",
    "chained": "try:\n    1 / 0\nexcept ZeroDivisionError as e:\n    raise KeyError('k') from e",
    "syntax": "print('not reached')\nx = = 1",
    "interrupt": "raise KeyboardInterrupt",
    "own-hook": """
        import sys, traceback
        def hook(kind, error, trace):
            print([frame.name for frame in traceback.extract_tb(trace)])
            print(error.__traceback__ is trace)
        sys.excepthook = hook
        def f(): 1 / 0
        f()
    """,
    "at-exit": """
        import atexit, pickle, __main__
        class A: pass
        atexit.register(lambda: print(__main__.A is A, pickle.loads(pickle.dumps(A())).__class__))
    """,
    "thread-after-the-end": """
        import pickle, sys, threading, time
        class A: pass
        def later():
            time.sleep(0.1)
            print(type(pickle.loads(pickle.dumps(A()))) is A, sys.modules['__main__'].A is A)
        threading.Thread(target=later).start()
    """,
    "encoding": "# coding: latin-1\nprint(ascii('é'))",
    "future": "print(1 if isinstance((lambda x: int)(1), type) else 2)\ndef f(x: nosuch): pass",
    "input": "print(input())",
    "spawn": """
        import multiprocessing
        def square(x): return x * x
        if __name__ == '__main__':
            with multiprocessing.get_context('spawn').Pool(1) as pool:
                print(pool.map(square, [1, 2, 3]))
    """,
}


def dedent(text):
    return "".join(line.removeprefix("        ") for line in text.splitlines(keepends=True))


def both(python, *arguments, **options):
    plain = python(*arguments, **options)
    ours = python("-m", "kerasvino", *arguments, **options)
    return plain, ours


def same(plain, ours):
    assert (ours.stdout, ours.returncode) == (plain.stdout, plain.returncode)
    assert ours.stderr == plain.stderr


@pytest.mark.parametrize("text", PROGRAMS.values(), ids=PROGRAMS)
def test_ends_as_under_python(python, tmp_path, text):
    # `annotations` of our own file must not leak into the program that it compiles: see "future"
    (tmp_path / "program.py").write_text(dedent(text), encoding="latin-1")
    plain, ours = both(python, "program.py", stdin="typed\n")
    assert plain.stdout or plain.stderr or plain.returncode
    same(plain, ours)


def test_a_script_sees_what_it_sees_under_python(python, tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "script.py").write_text(dedent(SHOW.format(relative=False)))
    (folder / "sibling.py").write_text("")
    (tmp_path / "link.py").symlink_to(folder / "script.py")
    for path in ("folder/script.py", folder / "script.py", "link.py"):
        plain, ours = both(python, path, "one", "--two", "-m", "status")
        assert plain.returncode == 0, plain.stderr
        same(plain, ours)


def test_a_module_sees_what_it_sees_under_python(python, tmp_path):
    package = tmp_path / "package"
    package.mkdir()
    for name in ("__init__", "sibling"):
        (package / f"{name}.py").write_text("import sys; print(__name__, sys.argv)")
    for name in ("__main__", "module"):
        (package / f"{name}.py").write_text(dedent(SHOW.format(relative=True)))
    for arguments in (["-m", "package.module"], ["-m", "package"], ["-mpackage.module"]):
        plain, ours = both(python, *arguments, "one", "--two", "-m")
        assert plain.returncode == 0, plain.stderr
        # Under python, sys.path[0] is the working directory in full; so it is for us.
        same(plain, ours)


def test_traceback_of_a_module_begins_in_it(python, tmp_path):
    (tmp_path / "module.py").write_text("1 / 0")
    plain, ours = both(python, "-m", "module")
    assert ours.returncode == plain.returncode == 1
    shown = [line for line in ours.stderr.splitlines() if line.startswith("  File")]
    assert shown == [f'  File "{tmp_path}/module.py", line 1, in <module>']


def test_folders_archives_compiled_files_and_stdin(python, tmp_path):
    text = "import sys, helper; print(sys.argv, sys.path[0], __name__, __spec__.name)"
    application = tmp_path / "application"
    application.mkdir()
    (application / "__main__.py").write_text(text)
    (application / "helper.py").write_text("")
    with zipfile.ZipFile(tmp_path / "application.zip", "w") as archive:
        for path in application.iterdir():
            archive.write(path, path.name)
    (tmp_path / "plain.py").write_text("import sys; print(sys.argv, __name__)")
    python("-c", "import py_compile; py_compile.compile('plain.py', 'compiled.pyc')")
    for path in ("application", "application.zip", "compiled.pyc"):
        plain, ours = both(python, path, "one")
        assert plain.returncode == 0, plain.stderr
        same(plain, ours)
    text = "import sys; print(sys.argv, sys.path[0] in ('', sys.path[0]), __name__); sys.exit(4)"
    same(*both(python, "-", "one", stdin=text))


def test_safe_path_is_kept(python, tmp_path):
    (tmp_path / "script.py").write_text("import sys; print(sys.path)")
    plain = python("-P", "script.py")
    ours = python("-P", "-m", "kerasvino", "script.py")
    same(plain, ours)


def test_runs_on_kerasvino(python, tmp_path):
    (tmp_path / "script.py").write_text(
        "import sys, keras; print(keras.backend.backend(), 'kerasvino.backend' in sys.modules)"
    )
    for arguments in (["script.py"], ["-m", "script"]):
        done = python("-m", "kerasvino", *arguments)
        assert (done.stdout, done.stderr) == ("openvino True\n", "")


def test_overrules_what_the_program_sets(python, tmp_path):
    (tmp_path / "script.py").write_text(
        "import os; os.environ['KERAS_BACKEND'] = 'jax'\n"
        "import keras; print(keras.backend.backend(), os.environ['KERAS_BACKEND'])"
    )
    done = python("-m", "kerasvino", "script.py")
    assert done.stdout == "openvino kerasvino\n"
    assert done.stderr == (
        "python -m kerasvino: the program sets KERAS_BACKEND to 'jax'; "
        "it runs on 'openvino' all the same\n"
    )


def test_refuses_a_contrary_environment(python, tmp_path):
    (tmp_path / "script.py").write_text("print('not reached')")
    done = python("-m", "kerasvino", "script.py", KERAS_BACKEND="jax")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("python -m kerasvino: KERAS_BACKEND is 'jax', so Keras would")


REFUSALS = {
    ("nosuch.py",): (2, "can't open file"),
    ("statsu",): (2, "the commands are: enable, disable, export, profile, doctor, status"),
    ("-m",): (2, "-m needs the name of a module"),
    ("-m", "nosuch"): (1, "No module named nosuch"),
    ("-m", "nosuch.deeper"): (1, "No module named nosuch.deeper"),
    ("-m", "plain.deeper"): (1, "No module named plain.deeper"),
    ("-m", "package"): (1, "No module named package.__main__"),
    ("folder",): (1, "can't find '__main__' module in 'folder'"),
    ("--nosuch",): (2, "--nosuch"),
    ("status", "--nosuch"): (2, "unrecognized arguments: --nosuch"),
}


@pytest.mark.parametrize("arguments", REFUSALS, ids=" ".join)
def test_refuses_with_a_reason(python, tmp_path, arguments):
    for name in ("package", "folder"):
        (tmp_path / name).mkdir()
    (tmp_path / "package" / "__init__.py").write_text("")
    (tmp_path / "plain.py").write_text("")
    done = python("-m", "kerasvino", *arguments)
    code, reason = REFUSALS[arguments]
    assert (done.returncode, done.stdout) == (code, "")
    assert reason in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_an_import_that_fails_in_a_parent_package_is_shown(python, tmp_path):
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__init__.py").write_text("import nosuch_dependency")
    done = python("-m", "kerasvino", "-m", "package.module")
    assert done.returncode == 1
    assert done.stderr.endswith("ModuleNotFoundError: No module named 'nosuch_dependency'\n")
    assert "package/__init__.py" in done.stderr


def test_a_script_named_like_a_command_is_run_by_its_path(python, tmp_path):
    (tmp_path / "status").write_text("print('the script')")
    done = python("-m", "kerasvino", "./status")
    assert done.stdout == "the script\n"


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"], ["enable", "--help"], ["--version"]])
def test_commands_work_under_any_selection(python, arguments):
    for extra in ({}, {"KERAS_BACKEND": "jax"}):
        done = python("-m", "kerasvino", *arguments, **extra)
        assert (done.returncode, done.stderr) == (0, "")
        assert "kerasvino" in done.stdout
        if arguments in ([], ["-h"], ["--help"]):
            assert all(name in done.stdout for name in COMMANDS)


def test_a_module_of_the_package_is_no_command(python):
    # `python -m kerasvino.something` imports the package like any other program.
    done = python("-m", "kerasvino.backend.trainer")
    assert done.returncode == 0, done.stderr
    done = python("-m", "kerasvino.backend.trainer", KERAS_BACKEND="jax")
    assert "SelectionError" in done.stderr


def test_interrupted_from_outside(python, tmp_path):
    (tmp_path / "script.py").write_text(
        "import os, signal\n"
        # ignored in processes that are started in the background
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "os.kill(os.getpid(), signal.SIGINT)\nwhile True: pass"
    )
    plain, ours = both(python, "script.py")
    assert plain.returncode == ours.returncode == -signal.SIGINT
    assert ours.stderr == plain.stderr


def test_interactive_afterwards(python, tmp_path):
    (tmp_path / "script.py").write_text("value = 42")
    done = python("-i", "-m", "kerasvino", "script.py", stdin="print(value)\n")
    assert done.stdout == "42\n"
