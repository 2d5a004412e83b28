"""Export replaces files, whole or not at all: who has the old ones keeps them."""

import os
import signal
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import keras
import numpy as np
import openvino
import pytest
from keras import layers

from kerasvino import files
from tests.runtime.faults import largest_file, mounted, nobody

posix = pytest.mark.skipif(sys.platform == "win32", reason="of POSIX")


def model(value, width=4, words=50):
    found = keras.Sequential([layers.Input((2,), dtype="int32"), layers.Embedding(words, width)])
    found.layers[0].embeddings.assign(np.full((words, width), value, "float32"))
    return found


def export(value, path, **kwargs):
    model(value, **kwargs).export(path, format="openvino", verbose=False)


def value_of(path):
    compiled = openvino.Core().compile_model(str(path), "CPU")
    return float(compiled(np.zeros((1, 2), "int32"))[0].ravel()[0])


def content(folder):
    return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


@pytest.mark.parametrize("words", [20_000, 400])
def test_who_has_compiled_the_old_files_keeps_its_answers(tmp_path, words):
    path = tmp_path / "model.xml"
    export(1.5, path, width=16, words=20_000)
    served = openvino.Core().compile_model(str(path), "CPU")
    x = np.array([[3, 19_999]], "int32")
    before = served(x)[0].copy()
    export(7, path, width=16, words=words)
    np.testing.assert_array_equal(served(x)[0], before)
    assert value_of(path) == 7
    assert set(content(tmp_path)) == {"model.xml", "model.bin"}


@posix
def test_links_are_replaced_and_not_followed(tmp_path):
    export(1, tmp_path / "first.xml")
    for ending in ("xml", "bin"):
        (tmp_path / f"latest.{ending}").symlink_to(f"first.{ending}")
    before = content(tmp_path)
    export(2, tmp_path / "latest.xml")
    assert value_of(tmp_path / "latest.xml") == 2
    assert (tmp_path / "first.bin").read_bytes() == before["first.bin"]
    assert not (tmp_path / "latest.bin").is_symlink()


@posix
@pytest.mark.parametrize("mask, mode", [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_modes_follow_the_umask(tmp_path, mask, mode):
    before = os.umask(mask)
    try:
        export(1, tmp_path / "new" / "model.xml")
    finally:
        os.umask(before)
    assert {stat.S_IMODE(p.stat().st_mode) for p in (tmp_path / "new").iterdir()} == {mode}


# -- failures


class Interrupted(BaseException):
    pass


FAILING = {
    "save": ("openvino.save_model", Interrupted),
    "full": ("openvino.save_model", RuntimeError("basic_ios::clear: iostream error")),
    "sync": ("os.fsync", OSError(28, "No space left on device")),
    **{f"replace {n}": ("os.replace", n) for n in range(4)},
}


@pytest.mark.parametrize("old", [True, False])
@pytest.mark.parametrize("place", FAILING)
def test_after_a_failure_everything_is_as_before(tmp_path, monkeypatch, place, old):
    folder = tmp_path / "a" / "b"
    if old:
        export(1, folder / "model.xml")
    elif place in ("replace 2", "replace 3"):
        pytest.skip("there are only two")
    before = content(folder) if old else None
    name, error = FAILING[place]
    target = openvino if name.startswith("openvino") else os
    function = name.rpartition(".")[2]
    original, calls = getattr(target, function), []

    def failing(*args, **kwargs):
        calls.append(args)
        if isinstance(error, int):
            if len(calls) - 1 == error:
                raise Interrupted
            return original(*args)
        raise error

    with monkeypatch.context() as patch, pytest.raises((OSError, Interrupted)) as said:
        patch.setattr(target, function, failing)
        export(2, folder / "model.xml")
    assert calls
    if place == "full":
        assert "could not write the model to" in str(said.value)
        assert "MB are free" in str(said.value)
    if old:
        assert content(folder) == before
    else:
        assert not list(tmp_path.iterdir())
    export(2, folder / "model.xml")
    assert value_of(folder / "model.xml") == 2
    assert len(content(folder)) == 2


@posix
def test_a_full_disk(tmp_path):
    export(1, tmp_path / "model.xml")
    before = content(tmp_path)
    with largest_file(40_000), pytest.raises(OSError, match="could not write the model"):
        export(2, tmp_path / "model.xml", words=20_000)
    assert content(tmp_path) == before


def test_a_small_disk(tmp_path):
    """On a disk of its own, which has no room for old and new at a time."""
    with mounted(tmp_path, "size=700k"):
        export(1, tmp_path / "model.xml", words=30_000)
        before = content(tmp_path)
        with pytest.raises(OSError, match=r"where \d+\.\d MB are free"):
            export(2, tmp_path / "model.xml", words=30_000)
        assert content(tmp_path) == before
        assert value_of(tmp_path / "model.xml") == 1


def test_a_file_that_windows_has_in_use(tmp_path, monkeypatch):
    path = tmp_path / "model.xml"
    export(1, path)
    before = content(tmp_path)
    original = os.replace

    def refusing(source, target):
        if str(source).endswith("model.bin") and "old" in str(target):
            raise PermissionError(13, "Access is denied", source)
        original(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", refusing)
        patch.setattr(files.os, "name", "nt", raising=False)
        moves = [(str(tmp_path / f"new.{e}"), str(tmp_path / f"model.{e}")) for e in ("bin", "xml")]
        with pytest.raises(PermissionError, match="Windows replaces no file that a process has"):
            files.replace_all(moves, aside=str(tmp_path))
    assert content(tmp_path) == before


@posix
def test_a_folder_that_may_not_be_written(tmp_path):
    # made before: nobody may not look into pytest's folders
    made = model(1)
    here = os.getcwd()
    os.chdir(tmp_path)
    try:
        (tmp_path / "closed").mkdir(mode=0o555)
        made.export("open/model.xml", format="openvino", verbose=False)
        with nobody(), pytest.raises(PermissionError):
            made.export("closed/model.xml", format="openvino", verbose=False)
    finally:
        os.chdir(here)
    assert not content(tmp_path / "closed")


@pytest.mark.parametrize("name", ["", "a\0b", "folder"])
def test_names_that_cannot_be_written(tmp_path, name):
    (tmp_path / "folder.xml").mkdir()
    with pytest.raises(ValueError, match="The OpenVINO export"):
        export(1, f"{tmp_path}/{name}.xml")
    (tmp_path / "other.bin").mkdir()
    with pytest.raises(ValueError, match=r"replaces files, and this is none: .*other\.bin"):
        export(1, tmp_path / "other.xml")
    assert set(os.listdir(tmp_path)) == {"folder.xml", "other.bin"}


@posix
def test_pipes_and_devices_are_not_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe.xml")
    (tmp_path / "null.xml").symlink_to("/dev/null")
    for name in ("pipe", "null"):
        with pytest.raises(ValueError, match="replaces files, and this is none"):
            export(1, tmp_path / f"{name}.xml")
    assert (tmp_path / "null.xml").is_symlink()


# -- several at a time

WRITER = """
import sys
from tests.export.test_replaces import export, model
number, path = int(sys.argv[1]), sys.argv[2]
made = model(number, words=1000 * number)
print(flush=True)
sys.stdin.readline()
for _ in range(6):
    made.export(path, format="openvino", verbose=False)
"""


def started(code, *arguments):
    """A process that has got as far as its first line, and waits for one."""
    code = "import kerasvino, keras\n" + code
    process = subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout.readline(), process.stderr.read()
    return process


def go(process):
    process.stdin.write(b"\n")
    process.stdin.flush()


def test_processes_that_export_to_one_path(tmp_path):
    """Weights never come beside the graph of another, whose size is another."""
    path = tmp_path / "model.xml"
    export(9, path)
    writers = [started(WRITER, number, path) for number in (1, 2)]
    for process in writers:
        go(process)
    while any(process.poll() is None for process in writers):
        with files.locked(tmp_path):
            table = openvino.Core().read_model(path).get_ordered_ops()
            rows = next(n.shape[0] for n in table if n.get_type_name() == "Constant" and n.shape)
            assert rows == (50 if value_of(path) == 9 else 1000 * value_of(path))
        time.sleep(0.05)
    for process in writers:
        _, error = process.communicate()
        assert process.returncode == 0, error
    assert value_of(path) in (1, 2)
    assert set(content(tmp_path)) == {"model.xml", "model.bin"}


KILLED = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background ignores it
from tests.export.test_replaces import model
made = model(2, width=64, words=200_000)
print(flush=True)
sys.stdin.readline()
while True:
    made.export(sys.argv[1], format="openvino", verbose=False)
"""


@posix
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_process_that_is_killed_in_the_middle(tmp_path, how):
    path = tmp_path / "model.xml"
    export(1, path)
    process = started(KILLED, path)
    go(process)
    while not any(p.is_file() and p.stat().st_size > 9000 for p in tmp_path.rglob(".*/*.bin")):
        time.sleep(0.001)
    process.send_signal(how)
    process.communicate()
    left = [name for name in os.listdir(tmp_path) if name.startswith(".")]
    assert len(left) == (1 if how == signal.SIGKILL else 0)
    export(3, path)
    assert value_of(path) == 3
    assert set(content(tmp_path)) == {"model.xml", "model.bin"}


def test_who_holds_the_folder_too_long_is_not_waited_for(tmp_path):
    with (
        files.locked(tmp_path),
        pytest.raises(TimeoutError, match="another process has been"),
        files.locked(tmp_path, seconds=0.05),
    ):
        pass
    assert not list(tmp_path.iterdir())
    with files.locked(tmp_path, seconds=0):
        pass


def test_a_lock_that_a_killed_process_left_is_no_lock(tmp_path):
    (tmp_path / ".kerasvino-lock").touch(mode=0o444)
    with files.locked(tmp_path, seconds=0):
        pass
    assert not list(tmp_path.iterdir())


def test_threads_that_take_turns(tmp_path):
    inside, most = [], []

    def work():
        for _ in range(20):
            with files.locked(tmp_path):
                inside.append(1)
                most.append(len(inside))
                inside.pop()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(most) == {1}
    assert len(most) == 80
    assert not list(tmp_path.iterdir())
