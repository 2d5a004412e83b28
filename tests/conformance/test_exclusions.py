import pytest

from tests.conformance import exclusions

LINE = '{ test = "ops/a_test.py::A::test_x", eager = "both", reason = "why" },\n'


def read(tmp_path, text):
    path = tmp_path / "exclusions.toml"
    path.write_text(text)
    return exclusions.read(path)


def test_modes(tmp_path):
    other = LINE.replace("both", "compiled").replace("test_x", "test_y")
    entries = read(tmp_path, f"exclude = [\n{LINE}{other}]")
    assert exclusions.reasons(entries, "host") == {"ops/a_test.py::A::test_x": "why"}
    both = ["ops/a_test.py::A::test_x", "ops/a_test.py::A::test_y"]
    assert list(exclusions.reasons(entries, "compiled")) == both
    assert exclusions.reasons(entries, "peer") == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"exclude = [{LINE}{LINE}]", "listed twice: ops/a_test.py::A::test_x"),
        (f"exclude = [{LINE.replace('both', 'eager')}]", "eager is not"),
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
