"""The cache's bound: what was used least recently makes room, among any number of processes."""

import os
import subprocess
import sys
import time
import warnings

import numpy as np
import pytest

from kerasvino import files
from kerasvino.runtime import blobs, config
from tests.runtime.test_cache_faults import no_warning, one_warning, result

ONE = 83_000  # bytes of the program of `result` and its note, about


def names(folder):
    return {path.stem for path in folder.glob("*.blob")}


def held(folder):
    return sum(size for _, size, _ in blobs.contents(folder))


def added(folder, **kwargs):
    """The name of the program that a call has added."""
    before = names(folder)
    result(**kwargs)
    (name,) = names(folder) - before
    return name


def age(folder, seconds):
    """Everything there was used longer ago."""
    for path in folder.iterdir():
        os.utime(path, (path.stat().st_atime, path.stat().st_mtime - seconds))


def test_what_was_used_least_recently_makes_room(folder):
    with config.using(cache_size=int(3.6 * ONE)), no_warning():
        first, second, third = (
            (added(folder, seed=seed), age(folder, 10))[0] for seed in (1, 2, 3)
        )
        result(seed=1)  # is used again
        age(folder, 10)
        fourth = added(folder, seed=4)
        assert names(folder) == {first, third, fourth}
        assert held(folder) <= 3.6 * ONE
    age(folder, 10)
    with config.using(cache_size=None):
        assert len(names(folder)) == 3
        added(folder, seed=2)
        added(folder, seed=5)
    assert second in names(folder)
    age(folder, 10)
    with config.using(cache_size=int(1.5 * ONE)):  # a smaller bound holds from the next one on
        last = added(folder, seed=6)
    assert names(folder) == {last}


def test_a_large_folder_is_not_looked_through_each_time(folder, monkeypatch):
    for number in range(500):
        (folder / f"{number:032x}.blob").write_bytes(bytes(9000))
    age(folder, 10)
    looks, original = [], blobs.contents

    def slow(folder):
        looks.append(1)
        time.sleep(0.1)
        return original(folder)

    monkeypatch.setattr(blobs, "contents", slow)
    limit = held(folder) + 30 * ONE
    looks.clear()
    with config.using(cache_size=limit):
        for seed in range(8):
            result(seed=seed)
        assert len(looks) == 1
    with config.using(cache_size=100 * 9000):
        for seed in range(8, 14):
            result(seed=seed)
    assert 2 <= len(looks) <= 9
    assert held(folder) <= 100 * 9000


def test_notes_are_counted_and_removed_too(folder):
    for number in range(200):
        (folder / f"{number:032x}.next").write_bytes(b"[]")
    age(folder, 10)
    with config.using(cache_size=2 * ONE):
        result()
    assert held(folder) <= 2 * ONE
    assert len(list(folder.glob("*.next"))) < 40


def test_what_is_not_the_caches_is_left_alone(folder):
    mine = ["notes.txt", "a.blob", "x" * 32 + ".blob", "0" * 32 + ".next.bak"]
    for name in mine:
        (folder / name).write_bytes(bytes(ONE))
    (folder / ("0" * 32 + ".blob")).mkdir()
    with config.using(cache_size=2 * ONE), no_warning():
        result()
    assert {path.name for path in folder.iterdir()} >= {*mine, "0" * 32 + ".blob"}
    assert len(names(folder) - {"a", "x" * 32, "0" * 32}) == 1


def test_a_program_larger_than_the_bound_is_not_kept(folder):
    result(seed=2, width=16)
    kept = names(folder)
    with config.using(cache_size=30_000), one_warning(folder, "larger than cache_size=30,000"):
        result()
        result()
    assert names(folder) == kept


def test_a_program_that_is_removed_while_it_is_used(folder):
    first = result()
    (path,) = folder.glob("*.blob")
    file = blobs.opened(path)
    with config.using(cache_size=int(1.5 * ONE)):
        age(folder, 10)
        result(seed=2)
    if sys.platform != "win32":
        assert not path.exists()
    file.leave()
    assert file.is_whole()
    model, _keep = blobs.imported(file, "CPU", config.Settings().properties)
    x = np.linspace(-1, 1, 64, dtype="float32").reshape(1, 64)
    np.testing.assert_allclose(model(x)[0], first, 1e-5, 1e-5)


def test_what_killed_processes_left_is_removed(folder):
    """A draft that nobody holds; one that is being written is held."""
    code = (
        "import os, sys; from kerasvino import files\n"
        "with files.draft(sys.argv[1]) as a, files.draft(sys.argv[1], folder=True) as b:\n"
        "    open(os.path.join(b, 'model.bin'), 'w').write('half'); print(flush=True)\n"
        "    sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", code, str(folder / "x")]
    pipes = dict(stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with subprocess.Popen(command, **pipes) as killed, subprocess.Popen(command, **pipes) as alive:
        for process in (killed, alive):
            process.stdout.readline()
        living = set(folder.iterdir())
        assert len(living) == 4
        result()
        if sys.platform != "win32":  # there they go after a day
            assert {path for path in folder.iterdir() if path.suffix == ".part"} == living
            killed.kill()
            killed.wait()
            blobs._looked.clear()  # it is not looked through each time
            result(seed=2)
            assert len({path for path in folder.iterdir() if path.suffix == ".part"}) == 2
        alive.stdin.close()
        assert alive.wait() == 0
    if sys.platform != "win32":
        assert not list(folder.glob(".*"))


def test_where_nothing_can_be_locked_old_drafts_go(folder, monkeypatch):
    monkeypatch.setattr(files, "_lock", lambda descriptor: None)
    old, new = (folder / f".kerasvino-{digit * 12}-x.part" for digit in "01")
    for path in (old, new):
        path.touch()
    os.utime(old, (0, time.time() - 2 * 86400))
    result()
    assert (old.exists(), new.exists()) == (False, True)


WRITER = """
import sys, warnings, numpy as np
warnings.simplefilter("error")
import kerasvino, keras
from tests.runtime.test_cache_faults import result
from kerasvino.runtime import config
own = int(sys.argv[3])
for turn in range(8):
    for seed in (own, turn, own + turn):  # some are written by several at a time, some removed
        with config.using(cache_dir=sys.argv[1], cache_size=int(sys.argv[2])):
            result(seed=seed)
print("right")
"""


def test_processes_that_write_and_remove_at_once(folder):
    limit = 4 * ONE
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(folder), str(limit), str(number)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for number in range(2)
    ]  # fmt: skip
    largest = 0
    while any(process.poll() is None for process in processes):
        largest = max(largest, held(folder))
        time.sleep(0.01)
    for process in processes:
        out, error = process.communicate()
        assert out == "right\n", error
    assert largest <= limit + 2 * ONE  # each may be writing one
    assert not list(folder.glob(".*"))
    with warnings.catch_warnings(), config.using(cache_size=limit):
        warnings.simplefilter("error")
        result(seed=77)
    assert held(folder) <= limit
    for path in folder.glob("*.blob"):
        assert blobs.opened(path).is_whole()


@pytest.mark.parametrize(
    ("value", "size"),
    [
        (5_000_000, 5_000_000), ("5000000", 5_000_000), ("2GB", 2_000_000_000),
        ("500 mb", 5 * 10**8), ("1.5GiB", 3 * 2**29), ("1k", 1000), ("1Ki", 1024), (None, None),
        ("none", None),
    ],
)  # fmt: skip
def test_sizes(value, size, monkeypatch):
    with config.using(cache_size=value) as settings:
        assert settings.cache_size == size
    if value is not None:
        monkeypatch.setenv("KERASVINO_CACHE_SIZE", str(value))
        assert config._environment.__wrapped__().cache_size == size


@pytest.mark.parametrize(
    "value", [0, -1, True, 1.5, "many", "1 XB", "GB", "-2GB", "9" * 400, "", "1e9", b"1"]
)
def test_wrong_sizes(value):
    with pytest.raises(ValueError, match=r"^cache_size=.*accepted: a number of bytes, as in"):
        config.using(cache_size=value)


def test_a_size_makes_no_other_programs():
    with config.using(cache_size=1) as small, config.using(cache_size=2) as large:
        assert small.key == large.key
