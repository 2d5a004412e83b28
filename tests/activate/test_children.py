"""Children of a process on kerasvino run on it too, or are refused by Keras."""

import importlib.util
import json
import sys

import pytest

from tests.activate.test_enable import Environment

# What starts children, and tells which backend Keras has in each.
PARENT = """
        import json, os, subprocess, sys

        def which(*_):
            import sys, keras
            return f"{keras.backend.backend()} {'kerasvino.backend' in sys.modules}"

        def pool(method):
            import multiprocessing
            with multiprocessing.get_context(method).Pool(1) as pool:
                return pool.apply(which)

        def python(*arguments, **variables):
            done = subprocess.run(
                [sys.executable, *arguments], env={**os.environ, **variables},
                capture_output=True, text=True, timeout=60,
            )
            return (done.stdout + done.stderr).strip().splitlines()[-1]

        def executor():
            import concurrent.futures, multiprocessing
            context = multiprocessing.get_context("spawn")
            with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as pool:
                return pool.submit(which).result()

        def loky():
            import joblib
            return joblib.Parallel(2, "loky")([joblib.delayed(which)()] * 2)[0]

        def gunicorn():
            return python("-m", "gunicorn", "--config", "server.py", "server:app")

        def ray():
            import ray
            ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False)
            actor = ray.remote(type("Actor", (), {"which": which})).remote()
            return ray.get(actor.which.remote())

        CHILDREN = {
            "spawn": lambda: pool("spawn"),
            "forkserver": lambda: pool("forkserver"),
            "fork": lambda: pool("fork"),
            "subprocess": lambda: python("-c", "import program; print(program.which())"),
            "its child": lambda: python(
                "-c", "import program as p; print(p.python('-c', 'import program as p; "
                "print(p.which())'))"
            ),
            "ProcessPoolExecutor": executor,
            "loky": loky,
            "gunicorn": gunicorn,
            "Ray actor": ray,
        }

        if __name__ == "__main__":
            if "import" in sys.argv:
                import kerasvino
            found = {"itself": which()}
            for name in sys.argv[1].split(","):
                found[name] = CHILDREN[name]()
            print(json.dumps(found))
"""
# A server whose only worker tells, and ends it.
SERVER = """
        import os, signal
        bind = "unix:socket"
        loglevel = "critical"
        control_socket_disable = True

        def post_worker_init(worker):
            import program
            print(program.which(), flush=True)
            os.kill(os.getppid(), signal.SIGTERM)

        def app(environ, start_response):
            raise AssertionError("nobody asks")
"""
NEEDS = {"loky": "joblib", "gunicorn": "gunicorn", "Ray actor": "ray"}
POSIX = ("forkserver", "fork", "gunicorn")
CHILDREN = [
    "spawn", "forkserver", "fork", "subprocess", "its child", "ProcessPoolExecutor", "loky",
    "gunicorn", "Ray actor",
]  # fmt: skip


def dedent(text):
    return "".join(line.removeprefix("        ") for line in text.splitlines(keepends=True))


@pytest.fixture
def parent(python, tmp_path):
    """Runs the parent of a table's children on arguments; {child: backend, by kerasvino}."""
    (tmp_path / "program.py").write_text(dedent(PARENT))
    (tmp_path / "server.py").write_text(dedent(SERVER))

    def run(children, *before, executable=sys.executable, mode="", **variables):
        names = ",".join(children)
        done = python(*before, "program.py", names, mode, executable=executable, **variables)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    return run


def _here(name):
    if name in POSIX and sys.platform == "win32":
        return False
    return name not in NEEDS or importlib.util.find_spec(NEEDS[name]) is not None


@pytest.fixture
def enabled(python, tmp_path):
    """An environment with what is installed here, in which kerasvino is enabled."""
    environment = Environment(tmp_path / "venv", python, system_site_packages=False)
    folders = [path for path in sys.path if path.endswith("site-packages")]
    (environment.site / "below.pth").write_text("\n".join(folders))
    environment("-m", "kerasvino", "enable")
    return environment.executable


@pytest.mark.parametrize("mode", ["import", "run", "enable"])
def test_children_run_on_kerasvino(parent, request, mode):
    names = [name for name in CHILDREN if _here(name)]
    if mode == "import":
        found = parent(names, mode="import")
    elif mode == "run":
        found = parent(names, "-m", "kerasvino")
    else:
        executable = request.getfixturevalue("enabled")
        found = parent(names, executable=executable, KERAS_BACKEND="openvino")
    assert found == dict.fromkeys(["itself", *names], "openvino True")


@pytest.mark.parametrize("backend", ["jax", "openvino"])
def test_another_backend_in_the_environment_of_a_child_is_taken(python, tmp_path, backend):
    (tmp_path / "program.py").write_text(dedent(PARENT))
    text = (
        "import kerasvino, keras, program\n"
        "show = 'import program; print(program.which())'\n"
        f"print(program.python('-c', show, KERAS_BACKEND={backend!r}))"
    )
    assert python("-c", text).stdout == f"{backend} False\n"


def test_a_child_may_name_another_backend_itself(python, tmp_path):
    (tmp_path / "program.py").write_text(dedent(PARENT))
    text = (
        "import kerasvino, keras, program\n"
        "show = \"import os; os.environ['KERAS_BACKEND'] = 'jax'; import program; "
        'print(program.which())"\n'
        "print(program.python('-c', show))"
    )
    assert python("-c", text).stdout == "jax False\n"


def test_what_the_main_module_names_is_overruled_in_its_children_too(python, tmp_path):
    (tmp_path / "program.py").write_text(
        "import os\nos.environ['KERAS_BACKEND'] = 'jax'\n" + dedent(PARENT)
    )
    names = ["spawn", "ProcessPoolExecutor", *(["loky"] if _here("loky") else [])]
    done = python("-m", "kerasvino", "program.py", ",".join(names))
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found == dict.fromkeys(["itself", *names], "openvino True")
    assert done.stderr.count("the program sets KERAS_BACKEND to 'jax'; it runs on") >= 3


@pytest.mark.parametrize("how", ["-I", "-E", "PYTHONPATH"])
def test_a_child_out_of_reach_is_refused(python, tree, how):
    text = f"import sys; sys.path.insert(0, {str(tree)!r}); import keras"
    flags = [how] if how.startswith("-") else []
    variables = {"PYTHONPATH": "elsewhere"} if how == "PYTHONPATH" else {}
    parent = (
        "import os, subprocess, sys, kerasvino, keras\n"
        f"command = [sys.executable, *{flags!r}, '-c', {text!r}]\n"
        f"done = subprocess.run(command, env={{**os.environ, **{variables!r}}}, text=True, "
        "capture_output=True)\n"
        "print(done.returncode, done.stderr.splitlines()[-1])"
    )
    done = python("-c", parent)
    assert done.stdout == "1 ValueError: Unable to import backend : kerasvino\n", done.stderr


def test_a_child_without_kerasvino_is_told(python, tree, tmp_path):
    environment = Environment(tmp_path / "venv", python, system_site_packages=False)
    (tmp_path / "keras").mkdir()
    (tmp_path / "keras" / "__init__.py").write_text("")
    path = f"{tree}/kerasvino/startup:{tmp_path}"
    done = environment.run("-c", "import keras", path=path, KERAS_BACKEND="kerasvino")
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith("ImportError: KERAS_BACKEND is 'kerasvino', set by a process that runs")
    assert f"{environment.executable} has no kerasvino. Install it there, or" in last


STARTED = """
        import json, sys
        print(json.dumps([sorted(sys.modules), sys.path]))
"""


def test_a_child_without_keras_pays_nothing(python, tree, tmp_path):
    (tmp_path / "started.py").write_text(dedent(STARTED))
    text = "import kerasvino, subprocess, sys; subprocess.run([sys.executable, 'started.py'])"
    plain, ours = python("started.py"), python("-c", text)
    (modules, path), (child_modules, child_path) = json.loads(plain.stdout), json.loads(ours.stdout)
    assert set(child_modules) - set(modules) <= {"sitecustomize"}
    assert child_path == path


def test_the_sitecustomize_of_the_user_runs(python, tree, tmp_path):
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "sitecustomize.py").write_text("print('own', __name__)")
    text = (
        "import kerasvino, keras, subprocess, sys\n"
        "subprocess.run([sys.executable, '-c', 'import sys, keras, sitecustomize; "
        "print(sitecustomize.__file__, keras.backend.backend(), "
        '"kerasvino.backend" in sys.modules)\'])'
    )
    done = python("-u", "-c", text, path=f"{tree}:{tmp_path / 'own'}")
    first, second, third = done.stdout.splitlines()
    assert first == second == "own sitecustomize"
    assert third == f"{tmp_path}/own/sitecustomize.py openvino True"


def test_a_sitecustomize_of_the_user_that_fails_is_shown_as_ever(python, tree, tmp_path):
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "sitecustomize.py").write_text("import nosuch_module")
    path = f"{tree}:{tmp_path / 'own'}"
    plain = python("-c", "print(1)", path=path)
    text = "import kerasvino, subprocess, sys; subprocess.run([sys.executable, '-c', 'print(1)'])"
    ours = python("-c", text, path=path)
    assert (plain.stdout, ours.stdout) == ("1\n", "1\n")
    assert "nosuch_module" in plain.stderr
    assert ours.stderr == plain.stderr * 2


def test_the_environment_is_prepared_once(program, tree):
    text = """
        import os, kerasvino, keras
        from kerasvino.activate import activate
        activate()
        print(os.environ["KERAS_BACKEND"], os.environ["PYTHONPATH"], sep=os.linesep)
    """
    lines = program(text).splitlines()
    assert lines == ["kerasvino", f"{tree}/kerasvino/startup:{tree}"]


def test_commands_leave_the_environment_alone(program):
    text = """
        import os, sys
        sys.argv, sys.orig_argv = ["-m", "enable"], ["python", "-m", "kerasvino", "enable"]
        before = dict(os.environ)
        import kerasvino
        print(os.environ == before)
    """
    assert program(text) == "True\n"
