"""A CausalLM exported to a folder gives engines for language models the tokens of `generate`."""

import json
import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import openvino
import pytest

keras_hub = pytest.importorskip("keras_hub")

import keras  # noqa: E402

import kerasvino  # noqa: E402
from kerasvino.export.language_model import folder as folders  # noqa: E402
from kerasvino.export.language_model import tokenizers  # noqa: E402
from kerasvino.export.language_model.decoder import decoder  # noqa: E402
from tests.export import served  # noqa: E402
from tests.generate import families, texts  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
FAST = ("GPT2", "Falcon", "Gemma2", "GptOss")
REFUSED = {"GPTNeoX"}
SERVED = ("GPT2", "Gemma")
MORE_SERVED = ("Llama3", "Llama", "Qwen3", "Qwen3+lora")


# -- the graph


def whole(model, ids):
    """Logits of the forward pass without a cache."""
    given = {"token_ids": ids[None], "padding_mask": np.ones((1, len(ids)), bool)}
    return keras.ops.convert_to_numpy(model(given, training=False))[0]


def steps(request, inputs, texts_, lengths, total):
    """Logits of texts that are read together, padded on the left, and then token by token."""
    longest, rows = max(lengths), len(lengths)
    ids, mask, positions = (np.zeros((rows, longest), np.int64) for _ in range(3))
    for row, length in enumerate(lengths):
        ids[row, longest - length :] = texts_[row][:length]
        mask[row, longest - length :] = 1
        positions[row, longest - length :] = np.arange(length)
    beams = np.arange(rows, dtype=np.int32)
    found = [[] for _ in lengths]
    while True:
        given = zip(("input_ids", "attention_mask", "position_ids", "beam_idx"),
                    (ids, mask, positions, beams), strict=True)  # fmt: skip
        logits = request.infer({k: v for k, v in given if k in inputs})["logits"]
        for row in range(rows):
            found[row] += list(logits[row][mask[row, -logits.shape[1] :] > 0])
        read = positions[:, -1:] + 1
        if read.max() == total:
            return found
        ids = np.array([[texts_[row][read[row, 0]]] for row in range(rows)])
        mask = np.concatenate([mask, np.ones((rows, 1), np.int64)], axis=1)
        positions = read


@pytest.mark.parametrize(
    "family",
    [f if f in FAST else pytest.param(f, marks=pytest.mark.slow) for f in families.DECODERS],
)
def test_logits_are_those_of_the_whole_model(family):
    model = families.model_of(family)
    if family in REFUSED:
        with pytest.raises(ValueError, match=f"{family}CausalLM cannot be exported"):
            folders.contents(model)
        return
    graph = decoder(model)
    assert [o.get_any_name() for o in graph.outputs] == ["logits"]
    assert {i.get_any_name() for i in graph.inputs} == {
        "input_ids", "attention_mask", "position_ids", "beam_idx",
    }  # fmt: skip
    draw = np.random.default_rng(0)
    rows = [draw.integers(1, families.VOCABULARY, 16) for _ in range(3)]
    exact = {"INFERENCE_PRECISION_HINT": "f32", "KV_CACHE_PRECISION": "f32"}
    compiled = openvino.Core().compile_model(graph, "CPU", exact)
    request = compiled.create_infer_request()
    names = [i.get_any_name() for i in compiled.inputs]
    found = steps(request, names, rows, (5, 8, 3), 16)
    for row, logits in zip(rows, found, strict=True):
        np.testing.assert_allclose(logits, whole(model, row)[: len(logits)], atol=1e-4)


def test_beams_are_reordered_by_number():
    model = families.model_of("Qwen3")
    compiled = openvino.Core().compile_model(
        decoder(model), "CPU", {"INFERENCE_PRECISION_HINT": "f32", "KV_CACHE_PRECISION": "f32"}
    )
    request = compiled.create_infer_request()
    draw = np.random.default_rng(0)
    rows = draw.integers(1, families.VOCABULARY, (2, 6))

    def run(ids, past, beams):
        ids, total = np.array(ids, np.int64), past + len(ids[0])
        return request.infer({
            "input_ids": ids, "attention_mask": np.ones((len(ids), total), np.int64),
            "position_ids": np.tile(np.arange(past, total), (len(ids), 1)),
            "beam_idx": np.array(beams, np.int32),
        })["logits"]  # fmt: skip

    run(rows, 0, [0, 1])
    found = run([[7], [9], [7]], 6, [1, 1, 0])
    for row, (of, token) in enumerate(((1, 7), (1, 9), (0, 7))):
        expected = whole(model, np.array([*rows[of], token], np.int32))[-1]
        np.testing.assert_allclose(found[row, 0], expected, atol=1e-4)


# -- engines


@pytest.fixture(scope="module")
def of_engines(tmp_path_factory):
    """of_engines(family) -> what tests.export.served found."""
    pytest.importorskip("openvino_genai")
    known = {}

    def of(family):
        if family not in known:
            wanted = SERVED if family in SERVED else MORE_SERVED
            folder = tmp_path_factory.mktemp("served")
            command = [sys.executable, "-m", "tests.export.served", str(folder), *wanted]
            environment = {k: v for k, v in os.environ.items() if not k.startswith("KERAS")}
            run = subprocess.run(
                command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
            )
            assert run.returncode == 0, run.stderr[-3000:]
            known.update(json.loads(run.stdout.splitlines()[-1]))
        return known[family]

    return of


@pytest.mark.parametrize(
    "family", [*SERVED, *(pytest.param(f, marks=pytest.mark.slow) for f in MORE_SERVED)]
)
def test_openvino_genai_generates_the_same_text(family, of_engines):
    result = of_engines(family)
    single, few = result["expected"]
    assert len(set(single)) == len(single)
    paged = family.partition("+")[0] in served.PAGED
    assert set(result["found"]) == {"default", "SDPA"} | ({"PA"} if paged else set())
    for backend, (alone, together) in result["found"].items():
        assert alone == single, backend
        assert together == few, backend
    assert result["files"] == sorted(
        name
        for each in folders.FILES
        for name in {each, each.replace(".xml", ".bin")}
    )  # fmt: skip
    assert result["generation"]["do_sample"] is False
    assert result["generation"]["max_length"] == 48


# -- tokenizers


@pytest.mark.parametrize("family", texts.TOKENIZERS)
def test_a_tokenizer_that_differs_is_told(family, monkeypatch):
    pytest.importorskip("openvino_tokenizers")
    model = texts.model_of(family)
    encode = model.preprocessor.generate_preprocess

    def other(text, sequence_length=None):
        return encode(text.replace("fox", "box"), sequence_length=sequence_length)

    monkeypatch.setattr(model.preprocessor, "generate_preprocess", other)
    with pytest.raises(tokenizers.NotConverted, match=r"would give .The quick brown fox.* other"):
        tokenizers.converted(model)


def test_without_a_tokenizer_the_model_is_written_with_one_warning(tmp_path, monkeypatch):
    model = texts.model_of("Qwen3")
    preprocessor = model.preprocessor
    model.preprocessor = None
    stale = tmp_path / "openvino_tokenizer.bin"
    stale.write_bytes(b"of another model")
    (tmp_path / "notes.txt").write_text("stays")
    with pytest.warns(UserWarning, match="without a tokenizer, as the model has no prep") as told:
        model.export(tmp_path, format="openvino")
    assert len(told) == 1
    assert told[0].filename == __file__
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "config.json", "generation_config.json", "notes.txt", "openvino_model.bin",
        "openvino_model.xml",
    ]  # fmt: skip
    model.preprocessor = preprocessor
    monkeypatch.setitem(sys.modules, "openvino_tokenizers", None)
    with pytest.warns(UserWarning, match=r"pip install 'kerasvino\[genai\]'"):
        model.export(tmp_path, format="openvino")


def test_a_tokenizer_of_another_kind():
    pytest.importorskip("openvino_tokenizers")
    model = texts.model_of("Qwen3")

    class Other:
        tokenizer = object()

    object.__setattr__(model, "preprocessor", Other())
    with pytest.raises(tokenizers.NotConverted, match="neither a BytePairTokenizer nor a Sent"):
        tokenizers.converted(model)


# -- what else is written, and what is refused


@pytest.mark.parametrize(
    ("sampler", "expected"),
    [
        ("greedy", {"do_sample": False}),
        ("contrastive", {"do_sample": False}),
        ("beam", {"do_sample": False, "num_beams": 5}),
        ("random", {"do_sample": True, "temperature": 1.0}),
        ("top_k", {"do_sample": True, "temperature": 1.0, "top_k": 5}),
        ("top_p", {"do_sample": True, "temperature": 1.0, "top_p": 0.1}),
    ],
)
def test_the_sampler_is_told(sampler, expected):
    model = families.model_of("Qwen3", sampler)
    assert folders._generation(model) == expected


def test_half_precision(tmp_path):
    model = families.model_of("Qwen3")
    sizes = []
    for half in (False, True):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.export(tmp_path, format="openvino", compress_to_fp16=half, verbose=False)
        sizes.append((tmp_path / "openvino_model.bin").stat().st_size)
    assert sizes[1] < 0.6 * sizes[0]
    read = openvino.Core().read_model(tmp_path / "openvino_model.xml")
    assert read.get_rt_info(["kerasvino", "version"]).value == kerasvino.__version__


def test_a_path_to_a_file_is_the_forward_pass(tmp_path):
    model = families.model_of("Qwen3")
    model.export(tmp_path / "model.xml", format="openvino", verbose=False)
    read = openvino.Core().read_model(tmp_path / "model.xml")
    assert {i.get_any_name() for i in read.inputs} == {"token_ids", "padding_mask"}


def test_what_is_refused(tmp_path):
    model = families.model_of("Qwen3")
    with pytest.raises(ValueError, match="leave out input_signature and preprocessing"):
        model.export(tmp_path, format="openvino", input_signature=[])
    with pytest.raises(ValueError, match="BartSeq2SeqLM has an encoder"):
        families.model_of("Bart").export(tmp_path, format="openvino")
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(ValueError, match="language model writes a folder"):
        model.export(file, format="openvino")
    dense = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])
    with pytest.raises(ValueError, match=r"end with '\.xml'"):
        dense.export(tmp_path, format="openvino")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
