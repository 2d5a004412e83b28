"""`python -m kerasvino export`."""

from __future__ import annotations

import argparse
import json
import os
from typing import Any

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
        type=int,
        default=1,
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
        name = arguments.name or os.path.splitext(os.path.basename(arguments.model))[0]
        path = _path(arguments, name)
        if arguments.server:
            config = _read_config(arguments.output)
        model = models.load(arguments)
        signature = models.signature(model, arguments)
        model.export(
            path, format="openvino", verbose=False, input_signature=signature,
            compress_to_fp16=arguments.fp16, preprocessing=arguments.preprocessing,
        )  # fmt: skip
        import openvino

        written = openvino.Core().read_model(path)
        _describe(path, written)
        if arguments.server:
            stateful = written.has_rt_info(["kerasvino", "stateful"])
            _write_config(arguments.output, _with_entry(config, name, stateful))
            _say_how_to_serve(arguments.output, name)
    return 0


def _path(arguments: argparse.Namespace, name: str) -> str:
    if arguments.server:
        if arguments.output.endswith(".xml"):
            raise models.Failure("--server writes a folder; name one instead of an .xml file.")
        if arguments.model_version < 1:
            raise models.Failure("--model-version is 1 or more.")
        return os.path.join(arguments.output, name, str(arguments.model_version), f"{name}.xml")
    if arguments.output.endswith(".xml"):
        return str(arguments.output)
    return os.path.join(arguments.output, f"{name}.xml")


def _describe(path: str, model: Any) -> None:
    size = sum(os.path.getsize(path.removesuffix(".xml") + end) for end in (".xml", ".bin"))
    text = f"{size / 1e6:.1f} MB" if size > 1e6 else f"{size / 1e3:.1f} kB"
    print(f"Wrote {path} and its .bin, {text}.")
    for kind, ports in (("input", model.inputs), ("output", model.outputs)):
        for port in ports:
            element = port.get_element_type().get_type_name()
            print(f"  {kind:<6} {port.get_any_name()}  {element} {port.get_partial_shape()}")


# -- OpenVINO Model Server


def _read_config(folder: str) -> dict[str, Any]:
    """The configuration in a folder, to which a model is added."""
    path = os.path.join(folder, CONFIG)
    if not os.path.exists(path):
        return {"model_config_list": []}
    with open(path, encoding="utf-8") as file:
        config = json.load(file)
    if not isinstance(config, dict) or not isinstance(config.get("model_config_list"), list):
        raise models.Failure(f"{path} is no configuration of OpenVINO Model Server.")
    return config


def _with_entry(config: dict[str, Any], name: str, stateful: bool) -> dict[str, Any]:
    """`config` with the model; what else an entry of that name says is kept."""
    entries = config["model_config_list"]
    known = [e["config"] for e in entries if e.get("config", {}).get("name") == name]
    # Xeons with bf16 would compute in it, and not give the model's numbers.
    entry = {"plugin_config": {"INFERENCE_PRECISION_HINT": "f32"}, **(known[0] if known else {})}
    entry |= {"name": name, "base_path": name}
    if stateful:
        entry["stateful"] = True
    else:
        entry.pop("stateful", None)
    others = [e for e in entries if e.get("config", {}).get("name") != name]
    return {**config, "model_config_list": [*others, {"config": entry}]}


def _write_config(folder: str, config: dict[str, Any]) -> None:
    path = os.path.join(folder, CONFIG)
    with open(path, "w", encoding="utf-8") as file:
        json.dump(config, file, indent=2)
        file.write("\n")
    print(f"Wrote {path}.")


def _say_how_to_serve(folder: str, name: str) -> None:
    print(
        "To serve it:\n"
        f"  docker run --rm -p 8000:8000 -v {os.path.abspath(folder)}:/models:ro "
        "openvino/model_server:latest --config_path /models/config.json --rest_port 8000\n"
        f"  curl http://localhost:8000/v2/models/{name}"
    )
