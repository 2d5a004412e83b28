"""The cache is optional: whatever is wrong with it is one warning, and the program is compiled."""

import errno
import os
import shutil
import stat
import sys
import tempfile
import warnings
from contextlib import contextmanager
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import ops

from kerasvino.runtime import blobs, cache, config
from kerasvino.runtime.function import Function
from kerasvino.tensor import Tensor
from tests.runtime.faults import largest_file, mounted, nobody

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="links, pipes, limits, modes")

X = Tensor(np.linspace(-1, 1, 64, dtype="float32").reshape(1, 64))


def result(seed=1, width=256, x=X):
    """What a new function computes; its program takes about 4 * 64 * `width` bytes."""
    kernel = np.random.default_rng(seed).normal(size=(64, width)).astype("float32")
    kernel = keras.Variable(kernel)
    function = Function(
        lambda x: [ops.relu(ops.matmul(x, kernel))], "net", variables=lambda: [kernel]
    )
    found = function(x)[0].numpy()
    np.testing.assert_allclose(found, np.maximum(x.numpy() @ kernel.numpy(), 0), 1e-4, 1e-4)
    return found


@contextmanager
def one_warning(folder, cause):
    """One that names the folder and the cause, whatever is run in the block."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    said = [str(w.message) for w in caught if "cache of compiled programs" in str(w.message)]
    assert len(said) == 1, said
    assert repr(str(folder)) in said[0]
    assert cause in said[0]


@contextmanager
def no_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def drafts(folder):
    return [path for path in Path(folder).rglob("*") if path.name.startswith(".kerasvino")]


# -- files that are something else


def directory(path):
    path.unlink()
    path.mkdir()


def loop(path):
    path.unlink()
    path.symlink_to(path)


def pipe(path):
    path.unlink()
    os.mkfifo(path)


OTHERWISE = {
    directory: "is no regular file", loop: os.strerror(errno.ELOOP), pipe: "is no regular file",
}  # fmt: skip


@pytest.mark.parametrize("ending", ["blob", "next"])
@pytest.mark.parametrize("what", OTHERWISE, ids=lambda what: what.__name__)
def test_something_else_in_the_place_of_a_file(folder, what, ending):
    first = result()
    (path,) = folder.glob(f"*.{ending}")
    what(path)
    with one_warning(folder, OTHERWISE[what]):
        np.testing.assert_array_equal(result(), first)
        np.testing.assert_array_equal(result(), first)
    assert not drafts(folder)
    with no_warning():  # for the others the folder is as good as before
        result(seed=2)
        result(seed=2)
    assert len(list(folder.glob("*.next"))) == 2


@pytest.mark.parametrize(
    "text", [b"[" * 60_000, b"[" * 100_000, b"[" * 10_000_000, b'{"a":' * 10_000, b"\xff" * 99]
)
def test_a_note_that_is_none(folder, text):
    first = result()
    (path,) = folder.glob("*.next")
    whole = path.read_bytes()
    path.write_bytes(text)
    with no_warning():
        np.testing.assert_array_equal(result(), first)
    assert path.read_bytes() == whole


def test_a_note_that_cannot_be_parsed_deeply(folder):
    path = folder / "note"
    path.write_bytes(b"[" * 50_000 + b"]" * 10_000)
    assert len(path.read_bytes()) < blobs._LONGEST_NOTE
    assert blobs.note(path) is None


def test_a_blob_that_openvino_refuses_is_replaced(folder):
    first = result()
    (path,) = folder.glob("*.blob")
    whole = path.read_bytes()
    body = b"another machine's program, whole as it is" * 100
    path.write_bytes(blobs._header(memoryview(body)) + body)
    with one_warning(folder, f"OpenVINO refuses {path.name}: "):
        np.testing.assert_array_equal(result(), first)
    assert path.stat().st_size == len(whole)
    with no_warning():
        np.testing.assert_array_equal(result(), first)


# -- folders that cannot be used


def a_file(path):
    path.touch()
    return path, "File exists"


def below_a_file(path):
    path.touch()
    return path / "cache", "Not a directory"


def a_loop(path):
    path.symlink_to(path)
    return path, "File exists"


def below_a_loop(path):
    path.symlink_to(path)
    return path / "cache", os.strerror(errno.ELOOP)


def long_name(path):
    return path / ("x" * 300), os.strerror(errno.ENAMETOOLONG)


@pytest.mark.parametrize(
    "what", [a_file, below_a_file, a_loop, below_a_loop, long_name], ids=lambda f: f.__name__
)
def test_a_folder_that_is_none(tmp_path, what):
    folder, _ = what(tmp_path / "place")
    with config.using(cache_dir=folder), one_warning(folder, "[Errno "):
        result()
        result()
        result(seed=2)


def test_a_folder_that_is_removed_meanwhile(folder):
    first = result()
    shutil.rmtree(folder)
    with no_warning():
        np.testing.assert_array_equal(result(), first)
        np.testing.assert_array_equal(result(), first)
    assert len(list(folder.glob("*.blob"))) == 1


def test_a_full_disk(folder, monkeypatch):
    exports = []
    original = blobs.replace
    monkeypatch.setattr(blobs, "replace", lambda *a: exports.append(a) or original(*a))
    with largest_file(40_000), one_warning(folder, "File too large"):
        result()
        result(seed=2)
        result()
    assert not list(folder.iterdir())  # no draft, nor a note of what is not there
    assert len(exports) == 1  # for a while it is not tried again
    blobs._not_before.clear()
    with no_warning():
        result()
    assert len(list(folder.iterdir())) == 2


def test_a_full_disk_with_what_is_in_it(tmp_path):
    """On a disk of its own: what was written before is read on."""
    with mounted(tmp_path, "size=150k"), config.using(cache_dir=tmp_path):
        first = result()  # 70 kB
        with one_warning(tmp_path, "No space left on device"):
            result(width=900)
        assert not drafts(tmp_path)
        with no_warning():
            np.testing.assert_array_equal(result(), first)
        assert len(list(tmp_path.iterdir())) == 2


def test_a_folder_mounted_for_reading(tmp_path):
    with mounted(tmp_path, "size=9m"), config.using(cache_dir=tmp_path):
        first = result()
        os.system(f"mount -o remount,ro {tmp_path}")
        with no_warning():  # what is there is used
            np.testing.assert_array_equal(result(), first)
        with one_warning(tmp_path, "Read-only file system"):
            result(seed=2)
            np.testing.assert_array_equal(result(), first)


def test_no_place_for_temporary_files(folder, monkeypatch):
    for place in (str(folder / "gone"), None):
        monkeypatch.setattr(tempfile, "tempdir", place)
        if place is None:
            monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: [])
        with no_warning():
            result()
    assert {path.suffix for path in folder.iterdir()} == {".blob", ".next"}


def test_no_place_for_anything(folder, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(folder / "gone"))
    with largest_file(200), one_warning(folder, "a graph cannot be written to name it"):
        result()
        result()
    assert not list(folder.iterdir())


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
def test_nothing_is_left_by_an_interrupt(folder, monkeypatch, error):
    def interrupted(*_):
        raise error

    with monkeypatch.context() as patch, pytest.raises(error):
        patch.setattr(os, "replace", interrupted)
        result()
    assert not list(folder.iterdir())
    result()
    assert len(list(folder.iterdir())) == 2


def test_a_device_that_exports_nothing(folder, monkeypatch):
    class Program:
        def export_model(self):
            raise RuntimeError("not implemented")

    path = Path(folder, "a" * 32 + ".blob")
    with one_warning(folder, "OpenVINO does not export a program: not implemented"):
        assert blobs.write(path, Program(), None) is False


# -- users


@pytest.fixture
def shared():
    """A folder that every user may reach; pytest's own are of one user."""
    path = Path(tempfile.mkdtemp())
    path.chmod(0o755)
    with config.using(cache_dir=path / "cache"):
        result(seed=99, width=8)  # imports everything: nobody may not read Python here
        yield path / "cache"
    shutil.rmtree(path)


def emptied(folder):
    for path in folder.iterdir():
        path.unlink()
    return folder


def test_an_unwritable_folder_is_read(shared):
    first = result()
    shared.chmod(0o555)
    with nobody():
        with no_warning():
            np.testing.assert_array_equal(result(), first)
        with one_warning(shared, "Permission denied"):
            result(seed=2)
            result(seed=3)
    shared.chmod(0o755)


def test_a_folder_that_may_not_be_looked_at(shared):
    result()
    shared.chmod(0)
    with nobody(), one_warning(shared, "Permission denied"):
        result()
        result()
    shared.chmod(0o755)


def test_files_of_another_user(shared):
    first = result()
    for path in shared.iterdir():
        path.chmod(0)
    shared.chmod(0o777)
    with nobody():
        with one_warning(shared, "Permission denied"):
            np.testing.assert_array_equal(result(), first)
        with no_warning():  # they are this user's now
            np.testing.assert_array_equal(result(), first)


@pytest.mark.parametrize(
    "mask, file, folder", [(0o022, 0o644, 0o755), (0o002, 0o664, 0o775), (0o077, 0o600, 0o700)]
)
def test_modes_follow_the_umask(tmp_path, mask, file, folder):
    """What root writes into a container's folder, its other user can read."""
    before = os.umask(mask)
    try:
        with config.using(cache_dir=tmp_path / "a" / "b"):
            result()
    finally:
        os.umask(before)
    paths = [tmp_path / "a", tmp_path / "a" / "b", *(tmp_path / "a" / "b").iterdir()]
    assert len(paths) == 4
    for path in paths:
        assert stat.S_IMODE(path.stat().st_mode) == (folder if path.is_dir() else file)


# -- none


@pytest.mark.parametrize("value", ["", " ", None])
def test_an_empty_name_is_no_cache(value, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cache, "key", None)
    with config.using(cache_dir="somewhere"), config.using(cache_dir=value) as settings:
        assert settings.cache_dir is None
        result()
    monkeypatch.setattr(config, "_process", None)
    config.set(cache_dir=value)
    assert config.get().cache_dir is None
    monkeypatch.setattr(config, "_process", None)
    if value is not None:
        monkeypatch.setenv("KERASVINO_CACHE_DIR", value)
        assert config._environment.__wrapped__().cache_dir is None
        assert not config.refused(["KERASVINO_CACHE_DIR"])
    assert not list(tmp_path.iterdir())
