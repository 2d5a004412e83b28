"""`kerasvino.stream` and `Conversation` yield what `generate` returns, and do no work twice."""

import threading
import typing

import numpy as np
import pytest

keras_hub = pytest.importorskip("keras_hub")

import keras  # noqa: E402

import kerasvino  # noqa: E402
from kerasvino.generate import hub, stateful  # noqa: E402
from kerasvino.generate.pieces import INCOMPLETE, Pieces, text_of  # noqa: E402
from kerasvino.generate.session import Session  # noqa: E402
from tests.generate import families, texts  # noqa: E402

IDS = [5, 9, 31, 2, 17]


@pytest.fixture(scope="module")
def bare():
    """A model without a preprocessor."""
    return families.model_of("Qwen3")


class Says(keras_hub.samplers.GreedySampler):
    """Chooses the tokens of a list, one after the other, and then as the greedy one."""

    def __init__(self):
        super().__init__()
        self.waiting = []

    def get_next_token(self, probabilities):
        if self.waiting:
            return keras.ops.convert_to_tensor([self.waiting.pop(0)])
        return super().get_next_token(probabilities)


@pytest.fixture(scope="module")
def spoken():
    return texts.model_of("Qwen3", Says())


@pytest.fixture
def runs(monkeypatch):
    """How many positions each run of a step was given."""
    found, run = [], Session.run

    def noting(self, stepped, tensors, new, *rest):
        found.append(new)
        return run(self, stepped, tensors, new, *rest)

    monkeypatch.setattr(Session, "run", noting)
    return found


def generated(model, ids, length, stop=None):
    """The ids that `generate` returns for one prompt, up to a stop token."""
    padded = np.zeros((1, length), np.int32)
    padded[0, : len(ids)] = ids
    result = families.generated(
        model, {"token_ids": padded, "padding_mask": np.arange(length)[None] < len(ids)}, stop
    )
    return np.array(result["ids"])[0][np.array(result["mask"])[0] > 0].tolist()


@pytest.mark.parametrize("family", texts.TOKENIZERS)
def test_the_pieces_are_the_text_that_generate_returns(family):
    model = texts.model_of(family, keras_hub.samplers.RandomSampler(seed=3, temperature=3.0))
    (seed,) = model.sampler.variables
    for prompt in ("The quick", "Größe: 日", "fox "):
        before = np.array(seed)
        whole = model.generate(prompt, max_length=40)
        after = np.array(seed)
        seed.assign(before)
        pieces = list(kerasvino.stream(model, prompt, max_length=40))
        assert prompt + "".join(pieces) == whole
        assert len(pieces) > 1 and all(pieces)
        np.testing.assert_array_equal(seed, after)


@pytest.mark.parametrize("sampler", ["TopKSampler", "TopPSampler", "RandomSampler"])
def test_samplers_with_seeds(bare, sampler):
    kind = getattr(keras_hub.samplers, sampler)
    options = {"p": 0.8} if sampler == "TopPSampler" else {}
    bare.compile(sampler=kind(seed=7, temperature=2.0, **options))
    (seed,), found = bare.sampler.variables, []
    before = np.array(seed)
    for way in (generated, lambda *args: [*IDS, *kerasvino.stream(*args, None)]):
        seed.assign(before)
        found.append([way(bare, IDS, 24) for _ in range(2)])
    bare.compile(sampler="greedy")
    assert found[0] == found[1]
    assert found[0][0] != found[0][1]


def test_a_sampler_of_a_users_own(bare):
    class Second(keras_hub.samplers.Sampler):
        def get_next_token(self, probabilities):
            return keras.ops.argsort(probabilities, axis=-1)[:, -2]

    bare.compile(sampler=Second())
    expected = generated(bare, IDS, 16)
    found = list(kerasvino.stream(bare, IDS, 16, None))
    bare.compile(sampler="greedy")
    assert IDS + found == expected != generated(bare, IDS, 16)


@pytest.mark.parametrize("family", texts.TOKENIZERS)
def test_characters_come_whole(family):
    tokenizer = texts.tokenizer_of(family)
    model = texts.model_of(family)
    for sentence in texts.SENTENCES:
        ids = np.asarray(tokenizer(sentence)).tolist()
        pieces = Pieces(lambda ids: text_of(model, ids), [])
        found = [piece for token in ids if (piece := pieces.add(token))]
        assert "".join(found) == sentence
        assert not any(INCOMPLETE in piece for piece in found)
        assert pieces.rest() == ""
        assert len(found) > len(sentence) / 4


@pytest.mark.parametrize("family", texts.TOKENIZERS)
def test_any_tokens_have_the_text_of_all(family):
    tokenizer, model = texts.tokenizer_of(family), texts.model_of(family)
    draw = np.random.default_rng(0)
    for length in (1, 2, 17, 300):
        ids = draw.integers(0, tokenizer.vocabulary_size(), length + 5).tolist()
        for given in (0, 1, 5):
            pieces = Pieces(lambda ids: text_of(model, ids), ids[:given])
            found = [pieces.add(token) for token in ids[given:]]
            before = text_of(model, ids[:given]).rstrip(INCOMPLETE)
            whole = before + "".join(found) + pieces.rest()
            # an incomplete character at the end of what was given belongs to that
            assert whole.replace(INCOMPLETE, "") == text_of(model, ids).replace(INCOMPLETE, "")


def test_stop_tokens_end_it(bare, spoken):
    free = list(kerasvino.stream(bare, IDS, 24, None))
    stop = free[3]
    assert list(kerasvino.stream(bare, IDS, 24, [stop])) == free[: free.index(stop) + 1]
    end = spoken.preprocessor.tokenizer.end_token_id
    spoken.sampler.waiting = [70, 71, end, 72]
    pieces = list(kerasvino.stream(spoken, "The", max_length=12))
    assert "".join(pieces) == text_of(spoken, [70, 71])
    assert spoken.sampler.waiting == [72]
    spoken.sampler.waiting = [70, 71, end, 72]
    pieces = list(kerasvino.stream(spoken, "The", max_length=5, stop_token_ids=None))
    assert "".join(pieces) == text_of(spoken, [70, 71, 72])


def idle(model):
    """How many requests the programs of a model's step have at hand."""
    (steps,) = stateful._steps[model].values()
    return sum(len(known.program._idle) for known in steps._known.values())


def test_leaving_the_loop_stops_and_gives_the_request_back(bare, runs):
    list(kerasvino.stream(bare, IDS, 24, None))
    before = idle(bare)
    runs.clear()
    for _ in kerasvino.stream(bare, IDS, 24, None):
        assert idle(bare) == before - 1
        break
    assert (idle(bare), len(runs)) == (before, 1)
    tokens = kerasvino.stream(bare, IDS, 24, None)
    assert len(runs) == 1  # nothing is done before the first is asked for
    first = next(tokens)
    tokens.close()
    assert (idle(bare), len(runs)) == (before, 2)
    assert next(kerasvino.stream(bare, IDS, 24, None)) == first


def test_streams_take_turns_in_a_thread(bare):
    prompts = [IDS, IDS[::-1], IDS * 2]
    expected = [generated(bare, ids, 20) for ids in prompts]
    streams = [kerasvino.stream(bare, ids, 20, None) for ids in prompts]
    found = [list(ids) for ids in prompts]
    while streams_left := [s for s, f in zip(streams, found, strict=True) if len(f) < 20]:
        for tokens in streams_left:
            found[streams.index(tokens)].append(next(tokens))
        assert len(generated(bare, [3, 4], 4)) == 4
    assert found == expected


def test_threads(spoken):
    prompts = ["The quick", "fox", "Ker", "learning do"]
    expected = [spoken.generate(prompt, max_length=30) for prompt in prompts]
    found = [""] * len(prompts)

    def run(index):
        for _ in range(2):
            pieces = kerasvino.stream(spoken, prompts[index], max_length=30)
            found[index] = prompts[index] + "".join(pieces)

    threads = [threading.Thread(target=run, args=(n,)) for n in range(len(prompts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == expected


def test_a_stream_may_go_on_in_another_thread(bare):
    expected = generated(bare, IDS, 16)
    tokens = kerasvino.stream(bare, IDS, 16, None)
    found = [*IDS, next(tokens)]
    thread = threading.Thread(target=lambda: found.extend(tokens))
    thread.start()
    thread.join()
    assert found == expected


def test_a_model_whose_cache_is_no_state(bare):
    class Rewriting(keras_hub.models.Qwen3CausalLM):
        def call_with_cache(self, token_ids, cache, cache_update_index):
            cache = keras.ops.where(keras.ops.isfinite(cache), cache, 0.0)
            return super().call_with_cache(token_ids, cache, cache_update_index)

    model = Rewriting(backbone=bare.backbone, preprocessor=None)
    model.compile(sampler="greedy")
    expected = generated(bare, IDS, 16)
    assert [*IDS, *kerasvino.stream(model, IDS, 16, None)] == expected
    assert model in hub._whole
    stop = expected[8]
    found = [*IDS, *kerasvino.stream(model, IDS, 16, [stop])]
    assert found == generated(bare, IDS, 16, [stop]) == expected[: len(found)]
    with kerasvino.Conversation(model) as chat:
        assert IDS + chat.generate(IDS, 12, None) == expected[:12]
        assert chat.history + chat.generate([], 16, None) == expected


# -- conversations


def test_a_turn_reads_only_what_is_new(spoken, runs):
    with kerasvino.Conversation(spoken) as chat:
        prompts = ("The quick fox", " is learning 日本", ". Größe")
        for n, prompt in enumerate(prompts, start=1):
            before = chat.history
            held = chat._session.length
            runs.clear()
            answer = chat.generate(prompt, max_length=20 * n)
            assert before + prompt + answer == chat.history
            told = [*runs]
            assert chat.history == spoken.generate(before + prompt, max_length=20 * n)
            ids = np.asarray(spoken.preprocessor.tokenizer(before + prompt))
            if INCOMPLETE not in before:  # else its tokens are others than those generated
                assert told[0] == len(ids) - held
            assert set(told[1:]) <= {1}


def test_ids_of_a_conversation(bare, runs):
    chat = kerasvino.Conversation(bare)
    first = list(chat.stream(IDS, 12, None))
    assert chat.history == IDS + first == generated(bare, IDS, 12)
    runs.clear()
    more = np.array([3, 4], np.int64)
    second = chat.generate(more, 20, None)
    assert runs == [3] + [1] * 5  # the last of the first turn has not been read before
    assert chat.history == generated(bare, [*IDS, *first, 3, 4], 20)
    assert chat.history == IDS + first + [3, 4] + second
    chat.close()
    runs.clear()
    chat.generate([6], 24, None)
    assert runs[0] == 21
    chat.close()


def test_a_turn_that_is_broken_off(bare, runs):
    with kerasvino.Conversation(bare) as chat:
        for n, _ in enumerate(chat.stream(IDS, 24, None)):
            if n == 3:
                break
        said = chat.history
        assert len(said) == len(IDS) + 4
        runs.clear()
        tokens = chat.stream([8], 24, None)
        next(tokens)
        assert runs == [2]
        chat.stream([9], 24, None)  # ends it, and is not begun itself
        with pytest.raises(StopIteration):
            next(tokens)
        rest = list(chat.stream([10], 24, None))
        expected = generated(bare, [*said, 8, *chat.history[len(said) + 1 :][:1], 9, 10], 24)
        assert chat.history == expected
        assert chat.history[-len(rest) :] == rest


def test_text_that_has_other_tokens_than_were_generated(spoken):
    """What was generated as "Ke" and "r" is read as "Ker" when it is part of a text."""
    tokenizer = spoken.preprocessor.tokenizer
    parts = [tokenizer.token_to_id(piece) for piece in ("K", "e", "r", "a", "s")]
    assert len(np.asarray(tokenizer("Keras"))) < len(parts)
    spoken.sampler.waiting = parts
    with kerasvino.Conversation(spoken) as chat:
        answer = chat.generate("The ", max_length=9)
        assert answer.startswith("Keras")
        chat.generate(" quick", max_length=20)
        said = chat.history
    assert said == spoken.generate("The " + answer + " quick", max_length=20)


def test_a_weight_assigned_between_turns(bare):
    kernel = bare.backbone.transformer_layers[0].weights[0]
    value = keras.ops.convert_to_numpy(kernel)
    with kerasvino.Conversation(bare) as chat:
        first = chat.generate(IDS, 12, None)
        kernel.assign(value * -2)
        try:
            chat.generate([], 24, None)
            assert chat.history == generated(bare, IDS + first, 24)
        finally:
            kernel.assign(value)
        second = [*chat.history, 1]
        chat.generate([1], 30, None)
        assert chat.history == generated(bare, second, 30)


def test_lora_between_turns():
    model = families.model_of("Qwen3")
    with kerasvino.Conversation(model) as chat:
        first = chat.generate(IDS, 12, None)
        model.backbone.enable_lora(2)
        for variable in model.backbone.trainable_variables:
            variable.assign(np.random.default_rng(3).normal(size=variable.shape))
        chat.generate([7], 24, None)
        assert chat.history == generated(model, [*IDS, *first, 7], 24)


def test_another_precision_between_turns(bare, runs):
    with kerasvino.Conversation(bare) as chat:
        chat.generate(IDS, 12, None)
        with kerasvino.config.using(kv_cache_precision="u8"):
            runs.clear()
            chat.generate([1], 16, None)
            assert runs[0] == 13


def test_a_conversation_in_two_threads(bare):
    chat, inside, seen = kerasvino.Conversation(bare), threading.Event(), []
    done = threading.Event()

    class Waiting(keras_hub.samplers.GreedySampler):
        def get_next_token(self, probabilities):
            inside.set()
            assert done.wait(60)
            return super().get_next_token(probabilities)

    bare.compile(sampler=Waiting())
    thread = threading.Thread(target=lambda: seen.extend(chat.stream(IDS, 8, None)))
    thread.start()
    assert inside.wait(60)
    with pytest.raises(RuntimeError, match="give each thread one of its own"):
        chat.stream([1], 9, None)
    done.set()
    thread.join()
    bare.compile(sampler="greedy")
    assert IDS + seen == generated(bare, IDS, 8)


def test_a_run_that_fails_is_forgotten(bare, monkeypatch):
    with kerasvino.Conversation(bare) as chat:
        tokens = chat.stream(IDS, 20, None)
        next(tokens)
        with monkeypatch.context() as changed:
            changed.setattr(Session, "run", _fails)
            with pytest.raises(OSError, match="device is gone"):
                next(tokens)
        said = chat.history
        chat.generate([2], 20, None)
        assert chat.history == generated(bare, [*said, 2], 20)


def _fails(*_):
    raise OSError("the device is gone")


# -- errors


@pytest.mark.parametrize(
    ("prompt", "options", "error", "words"),
    [
        ("text", {}, TypeError, "no preprocessor: the prompt is a sequence of ids"),
        ([1, 2], {"stop_token_ids": None}, ValueError, "Give max_length"),
        ([1, 2], {"max_length": 9}, ValueError, "'auto', which asks the preprocessor"),
        ([1, 2], {"max_length": 2, "stop_token_ids": None}, ValueError, "all of max_length, 2"),
        ([1.5], {"max_length": 9}, TypeError, "a sequence of ids; given: list"),
        ([[1, 2]], {"max_length": 9}, TypeError, "a sequence of ids"),
        ({"token_ids": np.ones((1, 4))}, {}, TypeError, "lacks padding_mask"),
        (families.prompts("Qwen3"), {"stop_token_ids": None}, ValueError, "given are 2 prompts"),
        (np.zeros(0, int), {"max_length": 9, "stop_token_ids": ()}, ValueError, "no tokens"),
    ],
)
def test_what_is_no_prompt_of_a_model_without_a_preprocessor(bare, prompt, options, error, words):
    with pytest.raises(error, match=words):
        kerasvino.stream(bare, prompt, **options)


@pytest.mark.parametrize(
    ("prompt", "options", "error", "words"),
    [
        ([1, 2], {"max_length": 9}, TypeError, "one text; given: list"),
        (7, {}, TypeError, "one text; given: 7"),
        ("The quick fox is learning", {"max_length": 3}, ValueError, "all of max_length, 3"),
        ("", {}, ValueError, "no tokens"),
    ],
)
def test_what_is_no_prompt_of_a_model_with_one(spoken, prompt, options, error, words):
    with pytest.raises(error, match=words):
        kerasvino.stream(spoken, prompt, **options)


def test_turns_are_of_one_kind(bare, spoken):
    with pytest.raises(TypeError, match="is a text; given: list"):
        kerasvino.Conversation(spoken).stream([1, 2])
    chat = kerasvino.Conversation(bare)
    with pytest.raises(TypeError, match="is a sequence of ids; given: 'x'"):
        chat.stream("x")
    with pytest.raises(ValueError, match="all of max_length"):
        chat.stream([1, 2], 2, None)
    assert chat.history == []


@pytest.mark.parametrize("way", [kerasvino.stream, lambda model, *_: kerasvino.Conversation(model)])
def test_what_is_no_causal_language_model(way):
    dense = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])
    for other in (dense, None, "gpt2", families.model_of("Bart")):
        with pytest.raises(TypeError, match=r"takes a keras_hub\.models\.CausalLM"):
            way(other, "text")


@pytest.mark.parametrize("sampler", ["beam", "contrastive"])
def test_samplers_that_know_no_token_before_the_end(sampler):
    model = families.model_of("Qwen3", sampler)
    with pytest.raises(ValueError, match=r"token by token.*model\.generate"):
        kerasvino.stream(model, IDS, 9, None)
    with pytest.raises(ValueError, match="does not choose token by token"):
        kerasvino.Conversation(model).stream(IDS, 9, None)


def test_signatures_are_told():
    assert typing.get_type_hints(kerasvino.stream)["max_length"] == int | None
    assert typing.get_type_hints(kerasvino.Conversation.stream)["max_length"] == int | None
