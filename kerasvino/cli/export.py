"""`python -m kerasvino export`."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import urllib.parse
from typing import Any, NamedTuple

from kerasvino import files
from kerasvino.cli import models

__all__ = ["add_arguments", "run"]

CONFIG = "config.json"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    models.add_arguments(parser)
    parser.add_argument("output", help="a folder, or the path of an .xml file")
    parser.add_argument("--fp16", action="store_true", help="store the weights as float16")
    parser.add_argument(
        "--preprocessing",
        type=_json,
        metavar="JSON",
        help="""what precedes the model, as in '{"resize": "linear", "scale": 255}'; see
        docs/export.md""",
    )
    parser.add_argument(
        "--server",
        action="store_true",
        help="write the folders and config.json of OpenVINO Model Server",
    )
    parser.add_argument("--name", help="of the files and of the served model; default: the model's")
    parser.add_argument(
        "--model-version",
        metavar="N",
        help="with --server, the number that the server knows it by (default 1)",
    )


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"not JSON: {error}") from error


def run(arguments: argparse.Namespace) -> int:
    """Writes the IR, and for the server what surrounds it."""
    with models.failures_as_messages():
        name = _name(arguments)
        write = _to_server if arguments.server else _to_files
        write(arguments, name)
    return 0


def _name(arguments: argparse.Namespace) -> str:
    """Of the files and of the served model; nothing else may be written because of it."""
    given = arguments.name is not None
    if given and not arguments.server and arguments.output.endswith(".xml"):
        raise models.Failure(f"--name is of files in a folder; {arguments.output} has a name.")
    name = arguments.name if given else os.path.splitext(os.path.basename(arguments.model))[0]
    if reason := files.refusal(name):
        asked = "give another name" if given else "give a name by --name"
        raise models.Failure(f"{name!r} cannot name files here, since {reason}; {asked}.")
    return str(name)


def _to_files(arguments: argparse.Namespace, name: str) -> None:
    if arguments.model_version is not None:
        raise models.Failure("--model-version is of OpenVINO Model Server; give --server as well.")
    path = arguments.output
    if path.endswith(".xml"):
        _check_folder(os.path.dirname(path) or ".")
    else:
        _check_folder(path)
        path = os.path.join(path, f"{name}.xml")
    _export(arguments, models.load(arguments), path)
    _describe(path, _read(path))


def _check_folder(path: str) -> None:
    """What can be told of a folder to write to is told before the model is loaded."""
    place = os.path.abspath(path)
    while not os.path.lexists(place):
        place = os.path.dirname(place)
    if not os.path.isdir(place):
        raise models.Failure(f"{place} is no folder; nothing can be written into it.")
    if not os.access(place, os.W_OK | os.X_OK):
        raise models.Failure(f"The folder {place} may not be written by this user.")


def _export(arguments: argparse.Namespace, model: Any, path: str) -> None:
    model.export(
        path, format="openvino", verbose=False,
        input_signature=models.signature(model, arguments),
        compress_to_fp16=arguments.fp16, preprocessing=arguments.preprocessing,
    )  # fmt: skip


class _Written(NamedTuple):
    """What is said of a model that was written."""

    bytes: int
    ports: list[str]
    stateful: bool


def _read(path: str) -> _Written:
    """What OpenVINO reads in the files, which are closed again: Windows renames no open ones."""
    import openvino

    model = openvino.Core().read_model(path)
    size = sum(os.path.getsize(path.removesuffix(".xml") + end) for end in (".xml", ".bin"))
    lines = []
    for kind, ports in (("input", model.inputs), ("output", model.outputs)):
        for port in ports:
            element = port.get_element_type().get_type_name()
            lines.append(f"  {kind:<6} {port.get_any_name()}  {element} {port.get_partial_shape()}")
    return _Written(size, lines, model.has_rt_info(["kerasvino", "stateful"]))


def _describe(path: str, written: _Written) -> None:
    size = written.bytes
    text = f"{size / 1e6:.1f} MB" if size > 1e6 else f"{size / 1e3:.1f} kB"
    print(f"Wrote {path} and its .bin, {text}.", *written.ports, sep="\n")


# -- OpenVINO Model Server


def _to_server(arguments: argparse.Namespace, name: str) -> None:
    """The folder of a version, and then the configuration that names the model.

    The server looks into a folder of a version when it finds one, so that comes there whole.
    """
    root = arguments.output
    if root.endswith(".xml"):
        raise models.Failure("--server writes a folder; name one instead of an .xml file.")
    _check_folder(root)
    version = os.path.join(root, name, _version(arguments))
    _read_config(root)
    _check_version(version, name)
    model = models.load(arguments)
    with files.folders(os.path.dirname(version)), files.draft(version, folder=True) as place:
        files.remove_dead_drafts(os.path.dirname(version))
        draft = os.path.join(place, f"{name}.xml")
        try:
            _export(arguments, model, draft)
        except OSError as error:  # that nobody looks for a folder which is gone by then
            raise models.Failure(str(error).replace(place, version)) from error
        written = _read(draft)
        _publish(root, name, place, version, written.stateful)
    _describe(os.path.join(version, f"{name}.xml"), written)
    print(f"Wrote {os.path.join(root, CONFIG)}.")
    _say_how_to_serve(root, name)


def _publish(root: str, name: str, draft: str, version: str, stateful: bool) -> None:
    """Puts the written model and the configuration into their places, the configuration last."""
    path = os.path.join(root, CONFIG)
    with files.locked(root), files.draft(path) as config:
        files.remove_dead_drafts(root)
        text = json.dumps(_with_entry(_read_config(root), name, stateful), indent=2)
        files.fill(config, [f"{text}\n".encode()])
        _check_version(version, name)
        _place(draft, version, name)
        files.replace(config, path)
        files.sync(root)


def _version(arguments: argparse.Namespace) -> str:
    """The name of a version's folder."""
    given = arguments.model_version
    if given is None:
        return "1"
    if not (given.isascii() and given.isdigit() and 0 < int(given) < 2**63):
        raise models.Failure(f"--model-version is 1 or more, a whole number; given: {given}.")
    return str(int(given))


def _check_version(folder: str, name: str) -> None:
    """Another model in the folder of the version: the server would not know which to take."""
    if os.path.lexists(folder):
        if not os.path.isdir(folder):
            raise models.Failure(f"{folder} is no folder.")
        others = [n for n in os.listdir(folder) if n.endswith(".xml") and n != f"{name}.xml"]
        if others:
            raise models.Failure(
                f"{folder} holds another model, {others[0]}; give another --model-version."
            )


def _place(draft: str, version: str, name: str) -> None:
    """The written folder becomes that of the version; in one that is there the files are replaced.

    What else is in such a folder, a mapping of names say, stays.
    """
    if not os.path.isdir(version):
        files.replace(draft, version)
    else:
        pairs = [
            (os.path.join(draft, f"{name}{end}"), os.path.join(version, f"{name}{end}"))
            for end in (".bin", ".xml")
        ]
        files.replace_all(pairs, aside=draft)
        files.sync(version)
    files.sync(os.path.dirname(version))


def _read_config(folder: str) -> dict[str, Any]:
    """The configuration in a folder, to which a model is added."""
    path = os.path.join(folder, CONFIG)
    if not os.path.lexists(path):
        return {"model_config_list": []}
    if os.path.exists(path) and not os.path.isfile(path):
        raise models.Failure(f"{path} is no file.")
    with open(path, encoding="utf-8-sig") as file:
        try:
            config: dict[str, Any] = json.load(file)
        except (ValueError, RecursionError) as error:
            raise models.Failure(f"{path} is no JSON: {error}") from error
    entries = config.get("model_config_list") if isinstance(config, dict) else None
    if not isinstance(entries, list) or not all(
        isinstance(entry, dict) and isinstance(entry.get("config"), dict) for entry in entries
    ):
        raise models.Failure(f"{path} is no configuration of OpenVINO Model Server.")
    return config


def _with_entry(config: dict[str, Any], name: str, stateful: bool) -> dict[str, Any]:
    """`config` with the model; what else an entry of that name says is kept."""
    entries = config["model_config_list"]
    known = [e["config"] for e in entries if e["config"].get("name") == name]
    # Xeons with bf16 would compute in it, and not give the model's numbers.
    entry = {"plugin_config": {"INFERENCE_PRECISION_HINT": "f32"}, **(known[0] if known else {})}
    entry |= {"name": name, "base_path": name}
    if stateful:
        entry["stateful"] = True
    else:
        entry.pop("stateful", None)
    others = [e for e in entries if e["config"].get("name") != name]
    return {**config, "model_config_list": [*others, {"config": entry}]}


def _say_how_to_serve(folder: str, name: str) -> None:
    mounted = shlex.quote(f"{os.path.abspath(folder)}:/models:ro")
    print(
        "To serve it:\n"
        f"  docker run --rm -p 8000:8000 -v {mounted} "
        "openvino/model_server:latest --config_path /models/config.json --rest_port 8000\n"
        f"  curl http://localhost:8000/v2/models/{urllib.parse.quote(name)}"
    )
