"""The page of a profile, in a browser without a network."""

import html
import itertools
import json
import re
import shutil
import subprocess

import keras
import numpy as np
import pytest
from keras import layers

import kerasvino

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium here to open the page with")

HOSTILE = "<!--<script><b>name"  # of a model; the page must show it and nothing else


@pytest.fixture(scope="module")
def profile():
    x = inputs = layers.Input((16, 16, 3), name="image")
    x = layers.Conv2D(8, 3, name="conv")(x)
    # large enough to be seen: what takes less than a microsecond has no width
    hidden, out = layers.Dense(4096, name="hidden"), layers.Dense(512, "softmax", name="out")
    head = keras.Sequential([layers.Input((8,)), hidden, out], name="head")
    x = head(layers.GlobalMaxPooling2D(name="pool")(x))
    model = keras.Model(inputs, x, name=HOSTILE)
    return kerasvino.profile(model, np.ones((2, 16, 16, 3)), runs=2)


@pytest.fixture
def browse(profile, tmp_path):
    """Opens the page, runs a script in it, and returns the document and what the script gave."""

    def run(script: str = "return null"):
        path = tmp_path / "page.html"
        profile.save_html(path)
        more = f"""<script>
            window.onerror = message => document.body.dataset.error = message;
            document.body.dataset.result = JSON.stringify((() => {{ {script} }})());
        </script></body>"""
        text = path.read_text(encoding="utf-8")
        path.write_text(text.replace("</body>", more), encoding="utf-8")
        done = subprocess.run(
            [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run",
             "--disable-background-networking", "--disable-component-update", "--disable-sync",
             "--host-resolver-rules=MAP * ~NOTFOUND", f"--user-data-dir={tmp_path / 'user'}",
             "--window-size=1200,900", "--virtual-time-budget=3000", "--dump-dom", path.as_uri()],
            capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        assert 'data-ready="yes"' in done.stdout, done.stderr[-2000:]
        assert "data-error" not in done.stdout
        result = re.search(r'data-result="([^"]*)"', done.stdout)[1]
        return done.stdout, json.loads(html.unescape(result))

    return run


def test_what_the_page_shows(browse, profile):
    document, counts = browse("""
        const count = selector => document.querySelectorAll(selector).length;
        return {rows: count("#rows tr"), boxes: count(".box"), nodes: count(".node"),
                edges: count(".edge"), stack: count("#kinds div"), legend: count("#legend span"),
                bold: count("main section b"), title: document.querySelector("h1").textContent,
                about: document.getElementById("about").textContent}
    """)
    assert counts["title"] == HOSTILE
    assert counts["bold"] == 0
    assert counts["rows"] == len(profile.layers)
    assert counts["nodes"] >= sum(placed.node.executed for placed in profile.nodes)
    assert counts["edges"] >= counts["nodes"] - 2
    assert counts["stack"] == counts["legend"] >= 2
    assert counts["boxes"] >= 2
    assert profile.measurement.device in counts["about"]
    assert "image: float32 [2, 16, 16, 3]" in counts["about"]
    assert "kerasvino" in document


def test_the_table_can_be_sorted(browse, profile):
    _, orders = browse("""
        const order = () => [...document.querySelectorAll("#rows .path")].map(e => e.textContent);
        const head = key => document.querySelector(`th[data-key=${key}]`);
        const found = [order()];
        head("path").click(); found.push(order());
        head("path").click(); found.push(order());
        head("seconds").click(); found.push(order());
        return found;
    """)
    by_time = [layer.path for layer in profile.layers]
    by_name = sorted(by_time)
    assert orders == [by_time, by_name, by_name[::-1], by_time]


def test_a_layer_can_be_looked_into(browse, profile):
    _, (before, inside, after) = browse("""
        const names = () => [...document.querySelectorAll(".box")].map(e => e.textContent);
        const box = name =>
            [...document.querySelectorAll(".box")].find(e => e.textContent === name);
        const found = [names()];
        box("head").click(); found.push(names());
        document.querySelector("#crumbs button").click(); found.push(names());
        return found;
    """)
    assert before[0] == HOSTILE
    assert "head" in before
    assert inside[0] == "head"
    assert set(inside) <= {"head", "hidden", "out"}
    assert after == before


def test_boxes_lie_within_their_layers(browse):
    _, boxes = browse("""
        return [...document.querySelectorAll(".box")].map(e => {
            const {left, right, top} = e.getBoundingClientRect();
            return [e.textContent, left, right, top];
        });
    """)
    (_, left, right, _), *_ = boxes
    rows = {}
    for _, box_left, box_right, top in boxes:
        assert left - 1 <= box_left <= box_right <= right + 1
        rows.setdefault(top, []).append((box_left, box_right))
    for row in rows.values():
        row.sort()
        assert all(a[1] <= b[0] + 1 for a, b in itertools.pairwise(row)), "overlap"


def test_the_graph_can_be_searched_and_scaled(browse, profile):
    _, found = browse("""
        const search = document.getElementById("search");
        search.value = "CONV";
        search.dispatchEvent(new Event("input"));
        const marked = document.querySelectorAll(".node.found").length;
        const faded = document.querySelectorAll(".node.faded").length;
        const said = document.getElementById("matches").textContent;
        search.value = "";
        search.dispatchEvent(new Event("input"));
        const width = () => Number(document.getElementById("graph").getAttribute("width"));
        const before = width();
        document.getElementById("larger").click();
        return {marked, faded, said, left: document.querySelectorAll(".faded").length,
                ratio: width() / before, nodes: document.querySelectorAll(".node").length};
    """)
    assert found["marked"] >= 1
    assert found["marked"] + found["faded"] == found["nodes"]
    assert found["said"] == f"{found['marked']} found"
    assert found["left"] == 0
    assert found["ratio"] == pytest.approx(1.3)


def test_what_is_said_of_a_node(browse):
    _, text = browse("""
        const node = [...document.querySelectorAll(".node")]
            .find(e => e.textContent.includes("Convolution"));
        node.dispatchEvent(new MouseEvent("mousemove", {clientX: 300, clientY: 300}));
        return document.getElementById("tip").textContent;
    """)
    assert "layer conv" in text
    assert " ms, " in text
    assert "f32 [2,8,14,14]" in text
