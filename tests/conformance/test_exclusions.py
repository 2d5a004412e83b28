import pytest

from tests.conformance import exclusions

LINE = '{ test = "ops/a_test.py::A::test_x", eager = "both", keras = "both", reason = "why" },\n'
WHEEL = LINE.replace('keras = "both"', 'keras = "wheel"')


def read(tmp_path, text):
    path = tmp_path / "exclusions.toml"
    path.write_text(text)
    return exclusions.read(path)


def test_modes(tmp_path):
    other = LINE.replace("both", "compiled", 1).replace("test_x", "test_y")
    entries = read(tmp_path, f"exclude = [\n{LINE}{other}]")
    assert exclusions.reasons(entries, "host") == {"ops/a_test.py::A::test_x": "why"}
    both = ["ops/a_test.py::A::test_x", "ops/a_test.py::A::test_y"]
    assert list(exclusions.reasons(entries, "compiled")) == both
    assert exclusions.reasons(entries, "jax") == {}


def test_forms_of_keras(tmp_path):
    entries = read(tmp_path, f"exclude = [{WHEEL}]")
    assert [entry.keras for entry in entries] == [("wheel",)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"exclude = [{LINE}{LINE}]", "listed twice: ops/a_test.py::A::test_x"),
        (f"exclude = [{LINE.replace('both', 'eager', 1)}]", "eager is not"),
        (f"exclude = [{WHEEL.replace('wheel', '3.16')}]", "keras is not"),
        (f"exclude = [{LINE.replace('why', ' ')}]", "reason is not a non-empty string"),
        (f"exclude = [{LINE.replace('_test.py', '.py')}]", "not of the form"),
        ('exclude = [{ test = "ops/a_test.py::A::x" }]', "keys are not exactly"),
        (f"excluded = [{LINE}]", "unknown key excluded"),
        ("exclude = [", "not TOML"),
    ],
)
def test_malformed(tmp_path, text, message):
    with pytest.raises(ValueError, match=message):
        read(tmp_path, text)


def test_our_list_is_one_line_each():
    lines = exclusions.LIST.read_text(encoding="utf-8").splitlines()
    assert sum(line.strip().startswith("{ test =") for line in lines) == len(exclusions.read())
