"""The command line of a run: what is asked for, and what follows from it."""

import argparse
import difflib
import importlib.util
from pathlib import Path

from . import exclusions
from .exclusions import MODES

# The suite: not the networks of keras.applications at full size (tests/parity has some of them),
# nor the wrappers for scikit-learn.
LEFT_OUT = ("applications", "wrappers")
COMPILED = (
    "layers/attention", "layers/convolutional", "layers/core", "layers/rnn", "ops", "random",
)  # fmt: skip
MARKERS = ("requires_trainable_backend", "multi_device")
# The suite of KerasHub: what generates, and what that is made of.
HUB = (
    "samplers", "layers/modeling",
    *(f"models/{name}" for name in (
        "bart", "blip2", "bloom", "edrec", "falcon", "flux", "gemma", "gemma3", "gemma3n", "gemma4",
        "gpt2", "gpt_neo_x", "gpt_oss", "llama", "llama3", "mistral", "mixtral", "moonshine", "opt",
        "pali_gemma", "parseq", "phi3", "qwen", "qwen3", "qwen3_5", "qwen3_5_moe", "qwen3_moe",
        "qwen_moe", "rwkv7", "smollm3", "stable_diffusion_3", "t5", "t5gemma", "t5gemma2",
        "whisper",
    )),
)  # fmt: skip
# What KerasHub computes in TensorFlow, whatever the backend.
TEXT = ("_preprocessor_test.py", "_tokenizer_test.py", "_converter_test.py")
# Keras's own backends. "openvino" is the one bundled with Keras 3.15, or keras-openvino.
PEERS = ("openvino", "numpy", "jax", "torch")
# Options that say where results are written, and not what is run.
OUTPUTS = ("--write", "--json", "--failures", "--log")
# Options with a folder of the caller's, and how the document names it.
FOLDERS = {"--source": "KERAS_SOURCE", "--hub": "KERAS_HUB_SOURCE", "--keep": "RECORDS"}


class UsageError(ValueError):
    """The command line asks for something that there is not."""


def parse(argv: list[str]) -> argparse.Namespace:
    """The options; `plan`, `source`, `extra` and `exclusions` are worked out from them.

    The plan is a list of (mode, targets); a mode is an eager mode of kerasvino, or a peer.
    """
    options, extra = parser().parse_known_args(_before_dashes(argv))
    options.extra = extra + argv[len(_before_dashes(argv)) + 1 :]
    if options.source and options.hub:
        raise UsageError("--source and --hub are two suites; name one of them")
    options.package = "keras_hub" if options.hub else "keras"
    folder = options.hub or options.source
    options.checkout = checkout(folder, options.package) if folder else None
    options.source = options.checkout / options.package / "src" if folder else keras_source()
    options.only = read_only(options.only) if options.only else None
    if options.only:
        options.targets = options.targets or files_of(options.only)
    for target in options.targets:
        check_target(options.source, target)
    options.plan = make_plan(options)
    try:
        entries = exclusions.read()
    except ValueError as error:
        raise UsageError(str(error)) from error
    form = "hub" if options.hub else "checkout" if options.checkout else "wheel"
    options.exclusions = [entry for entry in entries if form in entry.keras]
    return options


def make_plan(options: argparse.Namespace) -> list[tuple[str, list[str]]]:
    suite = not options.targets
    everything = options.targets or suite_of(options)
    if options.peer:
        return [(options.peer, everything)]
    eager = options.eager or ("both" if suite and not options.hub else "host")
    modes = MODES if eager == "both" else (eager,)
    if suite and not options.trainable:
        options.exclude_marker.append("requires_trainable_backend")
    return [(m, list(COMPILED) if suite and m == "compiled" else everything) for m in modes]


def suite_of(options: argparse.Namespace) -> list[str]:
    if options.hub:
        files = [file for folder in HUB for file in (options.source / folder).rglob("*_test.py")]
        names = [file.relative_to(options.source).as_posix() for file in files]
        return sorted(name for name in names if not name.endswith(TEXT))
    return [folder for folder in folders(options.source) if folder not in LEFT_OUT]


def folders(source: Path) -> list[str]:
    """The folders of keras/src that have tests."""
    return sorted({path.relative_to(source).parts[0] for path in source.glob("*/**/*_test.py")})


def files_of(ids: list[str]) -> list[str]:
    return sorted({id.partition("::")[0] for id in ids})


def parser() -> argparse.ArgumentParser:
    result = argparse.ArgumentParser(
        prog="python -m tests.conformance",
        description="Run Keras's own tests, from the installed wheel, on kerasvino. Options that "
        "are not listed go to pytest, and so does everything after --.",
        allow_abbrev=False,
    )
    add = result.add_argument
    add("targets", nargs="*", help="files, folders, test ids of keras/src; default: the suite")
    add("--source", metavar="DIR", help="a checkout of Keras to run and test, not the wheel")
    add(
        "--hub",
        metavar="DIR",
        help="a checkout of KerasHub to run and test, on the installed Keras",
    )
    add("--eager", choices=[*MODES, "both"], help="KERASVINO_EAGER; default: host")
    add("--peer", choices=PEERS, help="run this backend of Keras's instead of kerasvino")
    add("--compare", choices=PEERS, action="append", default=[], metavar="PEER",
        help="run the tests that fail on this backend too; may be repeated")  # fmt: skip
    add("--keep-skips", action="store_true", help='leave skips by the name "openvino" in place')
    add("--trainable", action="store_true", help="run the tests that train, too")
    add("--workers", type=int, default=1, help="processes (pytest-xdist), default 1")
    add("--exclude-marker", action="append", default=[], choices=MARKERS)
    add("-k", dest="keyword", metavar="EXPR", help="pytest's -k")
    add("--only", metavar="FILE", help="run only the tests that FILE lists (--failures writes one)")
    add("--timeout", type=float, default=300.0, help="seconds for one test, default 300")
    add("--keep", metavar="DIR", help="keep the records of every test in DIR; what they say has "
        "passed or was skipped is not run again")  # fmt: skip
    add("--write", metavar="FILE", help="write the tables as markdown, as a section of FILE")
    add("--json", metavar="FILE", help="write counts and every test as JSON")
    add("--failures", metavar="FILE", help="write the failed tests: id, mode, error; tab-separated")
    add("--log", metavar="FILE", help="keep pytest's own output")
    add("--sites", action="store_true", help='only list the comparisons with the name "openvino"')
    return result


def _before_dashes(argv: list[str]) -> list[str]:
    return argv[: argv.index("--")] if "--" in argv else argv


def without_outputs(argv: list[str]) -> list[str]:
    """The arguments without the options that only say where results are written, and without paths.

    >>> without_outputs(["ops", "--write", "a.md", "--source", "/home/me/keras"])
    ['ops', '--source', 'KERAS_SOURCE']
    """
    kept: list[str] = []
    before = ""
    for argument in argv:
        name, equals, _ = argument.partition("=")
        if before in FOLDERS:
            kept.append(FOLDERS[before])
        elif name in FOLDERS and equals:
            kept += [name, FOLDERS[name]]
        elif before not in OUTPUTS and name not in OUTPUTS:
            kept.append(argument)
        before = argument
    return kept


def keras_source() -> Path:
    """The folder `keras/src` of the installed keras, found without importing it."""
    spec = importlib.util.find_spec("keras")
    if spec is None or spec.origin is None:
        raise UsageError("keras is not installed")
    return Path(spec.origin).resolve().parent / "src"


def checkout(folder: str, package: str = "keras") -> Path:
    path = Path(folder).resolve()
    if not (path / package / "src" / "version.py").is_file():
        option, what = ("--hub", "KerasHub") if package == "keras_hub" else ("--source", "Keras")
        raise UsageError(
            f"{option} {folder}: no checkout of {what}: there is no {package}/src in it"
        )
    return path


def check_target(source: Path, target: str) -> None:
    name = target.partition("::")[0]
    if not Path(name).is_absolute() and (source / name).exists():
        return
    tests = [path.relative_to(source).as_posix() for path in source.rglob("*_test.py")]
    alike = difflib.get_close_matches(name, tests, n=5)
    hint = f"; did you mean {', '.join(alike)}?" if alike else ""
    hint = hint if tests else ", nor any other test: the wheel of a nightly is built without them"
    raise UsageError(f"there is no {name} in {source.parent.name}/src{hint}")


def read_only(file: str) -> list[str]:
    lines = Path(file).read_text(encoding="utf-8").splitlines()
    ids = [line.partition("\t")[0].strip() for line in lines]
    if not any(ids):
        raise UsageError(f"{file} lists no tests")
    return [id for id in ids if id]
