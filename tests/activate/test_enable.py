"""`enable`, `disable`, `status` in an environment made for the test."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from kerasvino.cli import installed, sites

PRINT = "import sys, keras; print(keras.backend.backend(), 'kerasvino' in sys.modules)"


class Environment:
    """A venv, and the stand-ins on PYTHONPATH."""

    def __init__(self, folder: Path, python, *, system_site_packages: bool):
        options = ["--without-pip", *(["--system-site-packages"] if system_site_packages else [])]
        subprocess.run([sys.executable, "-m", "venv", *options, folder], check=True)
        self.executable = folder / "bin" / "python"
        if not self.executable.exists():
            self.executable = folder / "Scripts" / "python.exe"
        self._python = python
        self.site = Path(self("-c", "import sysconfig; print(sysconfig.get_path('purelib'))"))
        self.file = self.site / sites.FILE

    def run(self, *arguments, **options):
        return self._python(*arguments, executable=self.executable, **options)

    def __call__(self, *arguments, **options) -> str:
        """The stdout of a process that must succeed, without a word on stderr."""
        done = self.run(*arguments, **options)
        assert (done.returncode, done.stderr) == (0, ""), (done.stdout, done.stderr)
        return done.stdout.strip()

    def contents(self) -> list[Path]:
        """Every file of it, without Python's caches."""
        return sorted(p for p in self.executable.parents[1].rglob("*") if p.suffix != ".pyc")


@pytest.fixture
def environment(python, tmp_path):
    return Environment(tmp_path / "venv", python, system_site_packages=False)


def test_enable_and_disable_can_be_repeated_and_leave_nothing(environment):
    before = environment.contents()
    assert environment("-m", "kerasvino", "disable") == "Not enabled; nothing to do."
    enabled = environment("-m", "kerasvino", "enable")
    assert enabled.splitlines()[0] == f"Enabled by {environment.file}"
    text = environment.file.read_text()
    assert environment("-m", "kerasvino", "enable").startswith("Already enabled by")
    assert environment.file.read_text() == text
    assert environment.contents() == sorted([*before, environment.file])
    assert environment("-m", "kerasvino", "disable") == f"Disabled: removed {environment.file}"
    assert environment("-m", "kerasvino", "disable") == "Not enabled; nothing to do."
    assert environment.contents() == before


def test_enable_replaces_the_file_of_another_version(environment):
    environment.file.write_text("# of another version\n")
    assert environment("-m", "kerasvino", "enable").startswith("Enabled by")
    assert environment("-c", PRINT, KERAS_BACKEND="openvino") == "openvino True"


def test_enabled_environment_selects_by_the_variable(environment):
    assert environment("-c", PRINT, KERAS_BACKEND="openvino") == "openvino False"
    environment("-m", "kerasvino", "enable")
    assert environment("-c", PRINT, KERAS_BACKEND="openvino") == "openvino True"
    assert environment("-c", PRINT, KERAS_BACKEND="jax") == "jax False"
    assert environment("-c", PRINT) == "tensorflow False"
    late = f"import os; os.environ['KERAS_BACKEND'] = 'openvino'; {PRINT}"
    assert environment("-c", late) == "openvino True"
    environment("-m", "kerasvino", "disable")
    assert environment("-c", PRINT, KERAS_BACKEND="openvino") == "openvino False"


def test_enabled_environment_selects_by_keras_json(environment, tmp_path):
    environment("-m", "kerasvino", "enable")
    (tmp_path / ".keras").mkdir()
    (tmp_path / ".keras" / "keras.json").write_text(json.dumps({"backend": "openvino"}))
    assert environment("-c", PRINT) == "openvino True"
    assert environment("-c", PRINT, KERAS_BACKEND="torch") == "torch False"


def test_enabled_environment_has_one_module_under_both_names(environment):
    environment("-m", "kerasvino", "enable")
    text = """if True:
        from keras.src.backend.openvino import rnn as function
        import keras, kerasvino
        assert keras.src.backend.openvino is kerasvino.backend
        assert kerasvino.backend.rnn is function
        assert keras.backend.BackendVariable is kerasvino.backend.core.Variable
        print(len(set(kerasvino.executed)) == len(kerasvino.executed) > 3)
    """
    assert environment("-c", text, KERAS_BACKEND="openvino") == "True"


def test_enabled_environment_also_runs_programs_that_import_kerasvino(environment, tmp_path):
    environment("-m", "kerasvino", "enable")
    (tmp_path / "script.py").write_text(PRINT)
    assert environment("-c", f"import kerasvino; {PRINT}") == "openvino True"
    assert environment("-m", "kerasvino", "script.py") == "openvino True"


def test_children_of_an_enabled_environment_run_on_kerasvino(environment, tmp_path):
    environment("-m", "kerasvino", "enable")
    (tmp_path / "script.py").write_text(
        "import multiprocessing\n"
        "def ask(_):\n"
        "    import sys, keras\n"
        "    return keras.backend.backend(), 'kerasvino.backend' in sys.modules\n"
        "if __name__ == '__main__':\n"
        "    with multiprocessing.get_context('spawn').Pool(1) as pool:\n"
        "        print(pool.map(ask, [0]))\n"
    )
    assert environment("-m", "kerasvino", "script.py") == "[('openvino', True)]"


def test_keras_can_change_its_backend_in_an_enabled_environment(environment):
    environment("-m", "kerasvino", "enable")
    text = """if True:
        import os, sys, keras
        print(keras.backend.backend(), 'kerasvino' in sys.modules)
        for backend in ('openvino', 'torch', 'openvino'):
            os.environ['KERAS_BACKEND'] = backend
            for key in [key for key in sys.modules if key.startswith('keras')]:
                del sys.modules[key]
            import keras
            print(keras.backend.backend(), 'kerasvino' in sys.modules)
    """
    printed = environment("-c", text, KERAS_BACKEND="jax").splitlines()
    assert printed == ["jax False", "openvino True", "torch False", "openvino True"]


def test_start_up_imports_nothing(environment):
    # site itself loads a codec to read any .pth file
    names = "import sys; print(sorted(n for n in sys.modules if not n.startswith('encodings')))"
    before = environment("-c", names)
    environment("-m", "kerasvino", "enable")
    assert environment("-c", names) == before


def test_silent_where_kerasvino_was_uninstalled(environment, tree, tmp_path):
    environment("-m", "kerasvino", "enable")
    without = tmp_path / "without"
    shutil.copytree(tree / "keras", without / "keras")
    assert environment("-c", "print(1)", path=without) == "1"
    for backend in ("openvino", "jax"):
        printed = environment("-c", PRINT, path=without, KERAS_BACKEND=backend)
        assert printed == f"{backend} False"


def test_a_kerasvino_that_does_not_load_is_not_hidden(environment, tree, tmp_path):
    environment("-m", "kerasvino", "enable")
    broken = tmp_path / "broken"
    shutil.copytree(tree / "keras", broken / "keras")
    (broken / "kerasvino").mkdir()
    (broken / "kerasvino" / "__init__.py").write_text("import nosuch_dependency")
    done = environment.run("-c", PRINT, path=broken, KERAS_BACKEND="openvino")
    assert "No module named 'nosuch_dependency'" in done.stderr
    assert environment("-c", PRINT, path=broken, KERAS_BACKEND="jax") == "jax False"


def test_absent_keras_stays_absent(environment, tmp_path):
    environment("-m", "kerasvino", "enable")
    text = "import importlib.util; print(importlib.util.find_spec('keras'))"
    assert environment("-c", text, path=tmp_path) == "None"


def block(path: Path) -> None:
    """Makes a path unwritable for every user, root too."""
    path.mkdir()
    (path / "in the way").touch()


def test_user_site_where_site_packages_cannot_be_written(python, tmp_path):
    environment = Environment(tmp_path / "venv", python, system_site_packages=True)
    block(environment.file)
    user = {"PYTHONUSERBASE": tmp_path / "user"}
    enabled = environment("-m", "kerasvino", "enable", **user)
    [path] = (tmp_path / "user").rglob("*.pth")
    assert enabled.startswith(f"Enabled by {path}\n")
    assert environment("-c", PRINT, KERAS_BACKEND="openvino", **user) == "openvino True"
    assert environment("-m", "kerasvino", "disable", **user) == f"Disabled: removed {path}"
    assert list((tmp_path / "user").rglob("*.pth")) == []


def test_neither_place_can_be_written(environment):
    block(environment.file)
    before = environment.contents()
    done = environment.run("-m", "kerasvino", "enable")
    assert done.returncode == 1
    assert f"  {environment.file}: " in done.stdout
    assert "Run this as a user who may write there" in done.stdout
    assert environment.contents() == before


def test_disable_names_the_file_of_the_environment_below(monkeypatch, capsys, tmp_path):
    from kerasvino.cli import disable

    below = tmp_path / sites.FILE
    below.touch()
    monkeypatch.setattr(sites, "places", lambda: [str(tmp_path / "own" / sites.FILE)])
    monkeypatch.setattr("site.getsitepackages", lambda: [str(tmp_path)])
    assert disable.run(None) == 1
    assert capsys.readouterr().out.startswith(f"Still enabled by {below}: run disable with")
    assert below.exists()


def test_the_file_is_one_line_of_ascii_and_a_comment():
    comment, line = sites.content().splitlines()
    assert comment.startswith("# Written by `python -m kerasvino enable`")
    assert line.startswith("import ") and line.isascii()
    compile(line, "a .pth file", "exec")


# --- status, on the real packages -----------------------------------------------------------------


def status(home: Path, **variables) -> dict[str, str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("KERAS")}
    environment |= {"HOME": str(home)} | variables
    command = [sys.executable, "-m", "kerasvino", "status"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    lines = [(line[:10].strip(), line[11:]) for line in done.stdout.splitlines()]
    return {title or "device": text for title, text in lines}


def test_status_prints_what_there_is(tmp_path):
    from importlib.metadata import version

    import kerasvino

    printed = status(tmp_path)
    assert printed["kerasvino"] == f"{kerasvino.__version__} in {kerasvino.__path__[0]}"
    assert printed["keras"].split()[0] in installed.keras().values()
    for package in ("openvino", "numpy"):
        assert printed[package] == version(package)
    assert "openvino" in printed["devices"]
    assert printed["device"].startswith(kerasvino.devices()[-1])


SELECTED = {
    (None, False): "tensorflow, by Keras's default; to run on kerasvino, import kerasvino before",
    (None, True): "tensorflow, by Keras's default; to run on kerasvino, set KERAS_BACKEND=openvino",
    ("jax", False): "jax, by KERAS_BACKEND; to run on kerasvino, unset it and import kerasvino",
    ("jax", True): "jax, by KERAS_BACKEND; to run on kerasvino, set KERAS_BACKEND=openvino",
    ("openvino", False): f"openvino, by KERAS_BACKEND: {installed.other_backend()}, unless",
    ("openvino", True): "openvino, by KERAS_BACKEND: kerasvino",
}


@pytest.mark.parametrize(("backend", "enabled"), SELECTED)
def test_status_tells_what_keras_would_choose(monkeypatch, capsys, tmp_path, backend, enabled):
    from kerasvino.cli import status

    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("KERAS_HOME", raising=False)
    monkeypatch.setenv("KERAS_BACKEND", backend or "")
    path = tmp_path / sites.FILE
    monkeypatch.setattr(sites, "in_effect", lambda: [str(path)] if enabled else [])
    path.write_text(sites.content())
    assert status.run(None) == 0
    lines = dict(line.split(None, 1) for line in capsys.readouterr().out.splitlines()[:6])
    assert lines["selected"].startswith(SELECTED[backend, enabled])
    assert lines["enabled"].startswith(f"yes, by {path}" if enabled else "no; only where")
    path.write_text("# by another version\n")
    status.run(None)
    assert ("run enable again" in capsys.readouterr().out) == enabled
