"""The scripts and notebooks of examples/ run, and reach what they are there to show."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"

# Script: its arguments, and what the number that its `main` returns must be.
SCRIPTS = {
    "time_series": ([], lambda error: error < 0.15),
    "custom_loop": ([], lambda accuracy: accuracy > 0.95),
    "jax_style": ([], lambda loss: loss < 0.1),
    "quantize": (["--units", "128"], lambda found: found[0] > 0.85 and found[1] > found[0] - 0.02),
    "model_server": ([], lambda difference: difference < 1e-6),
    "generate_text": (
        [],
        lambda texts: "writes: grüße an alle!" in texts[0] and texts[1] in (None, texts[0]),
    ),
    "ray_batch": (["--actors", "1"], lambda difference: difference < 1e-6),
    "distributed_training": ([], lambda accuracy: accuracy > 0.8),
}
NEEDS = {"ray_batch": ("ray", "pyarrow", "pandas"), "generate_text": ("keras_hub",)}
NOTEBOOKS = sorted(path.name for path in EXAMPLES.rglob("*.ipynb"))


def _run(code, folder):
    environment = {k: v for k, v in os.environ.items() if not k.startswith("KERAS")}
    path = os.pathsep.join(filter(None, [str(EXAMPLES.parent), environment.get("PYTHONPATH")]))
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env={**environment, "PYTHONPATH": path},
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout.splitlines()


@pytest.mark.parametrize("name", SCRIPTS)
def test_scripts(name, tmp_path):
    missing = [n for n in NEEDS.get(name, ()) if importlib.util.find_spec(n) is None]
    if missing:
        pytest.skip(f"needs {', '.join(missing)}")
    arguments, is_right = SCRIPTS[name]
    said = _run(
        f"import json, runpy, sys\nsys.argv = {[name, *arguments]!r}\n"
        f"main = runpy.run_path({str(EXAMPLES / name)!r} + '.py')['main']\n"
        "print(json.dumps(main()))",
        tmp_path,
    )
    assert is_right(json.loads(said[-1])), said


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_notebooks(name, tmp_path):
    cells = json.loads((EXAMPLES / name).read_text(encoding="utf-8"))["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    assert not [cell for cell in cells if cell.get("outputs")], "notebooks are kept without outputs"
    _run("\n\n".join(code), tmp_path)


def test_notebooks_are_there_and_every_script_is_run():
    assert NOTEBOOKS == ["quickstart.ipynb", "tune_and_serve.ipynb"]
    assert {path.stem for path in EXAMPLES.glob("*.py")} == set(SCRIPTS)
