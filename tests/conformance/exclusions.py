"""The list of Keras's tests that we do not run: `exclusions.toml`."""

import tomllib
from dataclasses import dataclass
from pathlib import Path

LIST = Path(__file__).with_name("exclusions.toml")
MODES = ("host", "compiled")  # of KERASVINO_EAGER
FORMS = ("wheel", "checkout")  # of Keras


@dataclass(frozen=True)
class Exclusion:
    test: str
    eager: tuple[str, ...]
    keras: tuple[str, ...]
    reason: str


def read(path: Path = LIST) -> list[Exclusion]:
    """The exclusions of the file at `path`; a ValueError names the entry that is malformed."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{path}: not TOML: {error}") from error
    entries = [_entry(path, entry) for entry in table.get("exclude", [])]
    unknown = sorted(set(table) - {"exclude"})
    if unknown:
        raise ValueError(f"{path}: unknown key {', '.join(unknown)}; there is only `exclude`")
    pairs = [(entry.test, mode) for entry in entries for mode in entry.eager]
    twice = sorted({test for test, mode in pairs if pairs.count((test, mode)) > 1})
    if twice:
        raise ValueError(f"{path}: listed twice: {', '.join(twice)}")
    return entries


def reasons(entries: list[Exclusion], mode: str) -> dict[str, str]:
    """Test id -> reason, of the exclusions in eager mode `mode`."""
    return {entry.test: entry.reason for entry in entries if mode in entry.eager}


def _entry(path: Path, entry: object) -> Exclusion:
    def wrong(problem: str) -> ValueError:
        return ValueError(f"{path}: {problem} in the entry {entry!r}")

    if not isinstance(entry, dict) or set(entry) != {"test", "eager", "keras", "reason"}:
        raise wrong("the keys are not exactly test, eager, keras and reason")
    for key, value in entry.items():
        if not isinstance(value, str) or not value.strip():
            raise wrong(f"{key} is not a non-empty string")
    for key, values in (("eager", MODES), ("keras", FORMS)):
        if entry[key] not in (*values, "both"):
            raise wrong(f'{key} is not "{values[0]}", "{values[1]}" or "both"')
    if "_test.py::" not in entry["test"]:
        raise wrong("test is not of the form folder/file_test.py::Class::test")
    eager = MODES if entry["eager"] == "both" else (entry["eager"],)
    keras = FORMS if entry["keras"] == "both" else (entry["keras"],)
    return Exclusion(entry["test"], eager, keras, entry["reason"])
