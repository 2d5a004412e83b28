"""A tiny language model learns a sentence, streams text, answers in turns, and is exported.

    python generate_text.py --folder served

Needs keras-hub; with openvino_genai the exported folder is run by Intel's own engine as well.
"""

import argparse
import importlib.util

import kerasvino  # isort: skip - before keras: this selects the backend
import keras
import keras_hub

SENTENCE = "Keras runs on OpenVINO. It learns, it predicts, it writes: grüße an alle!"
END = "<|endoftext|>"


def bytes_as_characters():
    """The character that stands for each byte in vocabularies of GPT-2."""
    shown = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in shown]
    return [chr(b) for b in shown] + [chr(256 + n) for n in range(len(others))]


def make():
    """A GPT-2 of two layers whose tokens are bytes."""
    keras.utils.set_random_seed(1)
    pieces = [*bytes_as_characters(), END]
    tokenizer = keras_hub.tokenizers.GPT2Tokenizer({p: n for n, p in enumerate(pieces)}, [])
    backbone = keras_hub.models.GPT2Backbone(
        len(pieces), num_layers=2, num_heads=4, hidden_dim=64, intermediate_dim=128,
        dropout=0.0, max_sequence_length=256,
    )  # fmt: skip
    preprocessor = keras_hub.models.GPT2CausalLMPreprocessor(tokenizer, sequence_length=96)
    return keras_hub.models.GPT2CausalLM(backbone, preprocessor)


def learn(model, epochs):
    """Fits the model to the sentence."""
    x, y, weights = model.preprocessor([SENTENCE] * 4)
    network = keras.Model(model.input, model.output)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    network.compile(keras.optimizers.Adam(3e-3), loss)
    network.fit(x, y, sample_weight=weights, epochs=epochs, verbose=0)


def by_the_engine(folder, prompt):
    """What openvino_genai generates of the exported folder; None where it is not installed."""
    if importlib.util.find_spec("openvino_genai") is None:
        return None
    import openvino_genai

    exact = {"INFERENCE_PRECISION_HINT": "f32", "KV_CACHE_PRECISION": "f32"}
    pipeline = openvino_genai.LLMPipeline(folder, "CPU", **exact)
    result = pipeline.generate([prompt], max_length=96, apply_chat_template=False)
    return prompt + result.texts[0]


def main(folder="served", epochs=80):
    """Returns the text, as `generate` and as the engine make it."""
    model = make()
    learn(model, epochs)
    model.compile(sampler="greedy")

    print("Streamed:  ", end="")
    for piece in kerasvino.stream(model, "Keras", max_length=96):
        print(piece, end="", flush=True)
    print()

    with kerasvino.Conversation(model) as chat:  # each turn reads only what is new
        print("In turns: ", repr(chat.generate("Keras runs", max_length=40)))
        print("          ", repr(chat.generate("", max_length=96)))

    text = model.generate("Keras", max_length=96)
    model.export(folder, format="openvino")
    served = by_the_engine(folder, "Keras")
    print("Generated:", text)
    print("Served:   ", served)
    return [text, served]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--folder", default="served", help="what is exported goes there")
    parser.add_argument("--epochs", type=int, default=80, help="of learning the sentence")
    main(**vars(parser.parse_args()))
