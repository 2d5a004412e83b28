"""What is published: metadata, and that the packages hold what they should and nothing else."""

import pathlib
import re
import subprocess
import tarfile
import tomllib
import zipfile

import pytest

ROOT = pathlib.Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def tracked():
    done = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        pytest.skip("not a checkout of git")
    return done.stdout.splitlines()


def built(name, folder):
    """What hatchling, which pyproject.toml names, makes of this tree."""
    builders = pytest.importorskip(f"hatchling.builders.{name}")
    builder = {"wheel": "WheelBuilder", "sdist": "SdistBuilder"}[name]
    return next(getattr(builders, builder)(str(ROOT)).build(directory=str(folder)))


def test_the_wheel_holds_the_package(tmp_path):
    names = set(zipfile.ZipFile(built("wheel", tmp_path)).namelist())
    package = {n for n in tracked() if n.startswith("kerasvino/")}
    assert {n for n in names if not n.startswith("kerasvino-")} == package
    assert "kerasvino/py.typed" in package
    (metadata,) = (n for n in names if n.endswith("/METADATA"))
    text = zipfile.ZipFile(next(tmp_path.glob("*.whl"))).read(metadata).decode()
    assert "Author: The kerasvino developers" in text
    assert "License-Expression: Apache-2.0" in text
    assert "Classifier: Typing :: Typed" in text


def test_the_source_distribution_holds_what_is_needed_to_test_it(tmp_path):
    with tarfile.open(built("sdist", tmp_path)) as archive:
        names = {n.partition("/")[2] for n in archive.getnames()}
    left_out = {n for n in tracked() if n not in names}
    assert {n for n in left_out if not n.startswith((".github/", ".ci/"))} == set()
    assert {n for n in names if n not in tracked()} <= {"PKG-INFO"}


def test_pythons_agree():
    asked = PROJECT["project"]["requires-python"]
    low, high = map(int, re.fullmatch(r">=3\.(\d+),<3\.(\d+)", asked).groups())
    named = [c.rpartition(" ")[2] for c in PROJECT["project"]["classifiers"]]
    assert [n for n in named if re.fullmatch(r"3\.\d+", n)] == [f"3.{n}" for n in range(low, high)]
    page = (ROOT / "docs" / "versions.md").read_text()
    assert f"`{asked}`" in page
    for dependency in PROJECT["project"]["dependencies"]:
        name, bounds = re.fullmatch(r"([\w-]+)(.*)", dependency).groups()
        assert re.fullmatch(r">=[\d.]+,<[\d.]+", bounds), dependency
        if name in ("keras", "openvino"):
            assert f"`{bounds}`" in page


@pytest.mark.parametrize("name", ["CONTRIBUTING.md", "SECURITY.md", "README.md", "CHANGELOG.md"])
def test_links_within_the_repository(name):
    text = (ROOT / name).read_text()
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", text)
    assert links or name == "CHANGELOG.md"
    for link in links:
        assert "://" in link or (ROOT / link).exists(), link


def test_commands_of_the_contributing_page_are_there():
    makefile = (ROOT / "Makefile").read_text()
    commands = set(re.findall(r"`make ([\w-]+)", (ROOT / "CONTRIBUTING.md").read_text()))
    assert commands
    for command in commands:
        assert re.search(rf"^(\S+ )*{command}\b.*:", makefile, re.MULTILINE), command


def test_workflow_and_templates_are_yaml():
    yaml = pytest.importorskip("yaml")
    for path in sorted((ROOT / ".github").rglob("*.yml")):
        assert isinstance(yaml.safe_load(path.read_text()), dict), path
    jobs = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())["jobs"]
    assert any(".ci/run" == step.get("run") for step in jobs["whole"]["steps"])
