"""KerasHub's tokenizers as OpenVINO models of `openvino_tokenizers`, which engines read."""

from __future__ import annotations

import numpy as np
from openvino import Model, Type
from openvino.preprocess import PrePostProcessor

from kerasvino.backend.keras_private import at
from kerasvino.generate.pieces import text_of
from kerasvino.nodes import sentence_pieces
from kerasvino.runtime.compiling import run_once

__all__ = ["NotConverted", "converted"]

# Both ways are compared for these.
_SAMPLES = (
    "The quick brown fox's 12345 jumps; isn't it?", "  two  spaces\tand\n\n lines \r\n", "",
    "Größe, façade, 日本語, 한국어, 🙂👩‍🔬", "a <s> b </s> <|endoftext|> <bos>x",
)  # fmt: skip


# What making and running models of a tokenizer may raise where it is another than those known.
_REFUSED = (RuntimeError, ValueError, TypeError, LookupError, AttributeError, NotImplementedError)


class NotConverted(ValueError):
    """The message says why a tokenizer has no OpenVINO model."""


def converted(model) -> tuple[Model, Model]:
    """The tokenizer and detokenizer of a task, as models.

    Texts are given the tokens that `preprocessor.generate_preprocess` gives them, padded on the
    left, and tokens the text of `generate_postprocess`.

    Raises:
        NotConverted: there is none for it.
    """
    if model.preprocessor is None:
        raise NotConverted("the model has no preprocessor")
    try:
        import openvino_tokenizers  # noqa: F401 - makes its nodes known to OpenVINO
    except ImportError as error:
        raise NotConverted(
            "openvino_tokenizers cannot be imported; pip install 'kerasvino[genai]'"
        ) from error
    tokenizer = model.preprocessor.tokenizer
    made = next((made for name, made in _KINDS.items() if isinstance(tokenizer, at(name))), None)
    if made is None:
        raise NotConverted(
            f"{type(tokenizer).__name__} is neither a BytePairTokenizer nor a "
            "SentencePieceTokenizer"
        )
    start, padding = getattr(tokenizer, "start_token_id", None), _padding(tokenizer)
    special = sorted(int(token) for token in tokenizer.special_token_ids)
    try:
        pair = made(tokenizer, start, padding, special)
        _compare(model, *pair)
    except NotConverted:
        raise
    except _REFUSED as error:
        raise NotConverted(f"{type(tokenizer).__name__} has no OpenVINO model: {error}") from error
    for each in pair:
        for name, token in (("bos", start), ("eos", tokenizer.end_token_id), ("pad", padding)):
            if token is not None:
                each.set_rt_info(int(token), f"{name}_token_id")
    return pair


def _padding(tokenizer) -> int:
    return int(getattr(tokenizer, "pad_token_id", None) or 0)


def _compare(model, tokenizer: Model, detokenizer: Model) -> None:
    """Refuses a pair that does something else than the model's preprocessor."""
    given = [model.preprocessor.generate_preprocess(text, sequence_length=256) for text in _SAMPLES]
    rows = [np.asarray(g["token_ids"])[np.asarray(g["padding_mask"], bool)] for g in given]
    ids, counts = run_once(tokenizer, np.array(_SAMPLES))
    for text, expected, row, counted in zip(_SAMPLES, rows, ids, counts, strict=True):
        if not np.array_equal(row[counted > 0], expected):
            raise NotConverted(f"OpenVINO's would give {text!r} other tokens")
    for text, row in zip(_SAMPLES, rows, strict=True):
        if len(row) and run_once(detokenizer, row[None].astype(np.int64))[0] != text_of(model, row):
            raise NotConverted(f"OpenVINO's would give the tokens of {text!r} another text")


def _byte_pairs(tokenizer, start, padding, special) -> tuple[Model, Model]:
    from openvino_tokenizers import tokenizer_pipeline as steps

    pieces = _by_id(tokenizer.vocabulary)
    whole = {token: tokenizer.vocabulary[token] for token in tokenizer.unsplittable_tokens or ()}
    begin = [] if start is None else [steps.AddToken(_token_id=start)]
    space = steps.RegexNormalizationStep.add_prefix_whitespace_to_not_whitespace_regex()
    pattern = at("keras_hub.src.tokenizers.byte_pair_tokenizer:SPLIT_PATTERN_TOKENIZERS")
    merges = [str(merge) for merge in tokenizer.merges if "#version:" not in merge.lstrip()]
    pipeline = steps.TokenizerPipeline(vocab=pieces, skip_tokens=special)
    pipeline.add_steps(
        [
            steps.SpecialTokensSplit.from_string_iter(whole),
            *([space] if tokenizer.add_prefix_space else []),
            steps.RegexSplitStep(pattern, behaviour="isolate"),
            steps.BytesToCharsStep(),
            steps.BPETokenizationStep(
                vocab=list(pieces), merges=merges, added_tokens=whole or None
            ),
            steps.CombineSegmentsStep([*begin, steps.Sequence()]),
            steps.PaddingStep(_token_id=padding, pad_right=False),
            steps.VocabDecoderStep(skip_tokens=special),
            steps.CharsToBytesStep(),
            steps.UTF8ValidateStep(mode=steps.UTF8ReplaceMode.REPLACE),
        ]
    )
    return _encoder(pipeline.get_tokenizer_ov_subgraph()), _decoder(
        pipeline.get_detokenizer_ov_subgraph()
    )


def _encoder(model: Model) -> Model:
    """With the two outputs that engines read, in the type that they read."""
    names = ("input_ids", "attention_mask")
    model = Model([model.output(name) for name in names], model.get_parameters(), "tokenizer")
    processor = PrePostProcessor(model)
    for name in names:
        processor.output(name).tensor().set_element_type(Type.i64)
    return processor.build()


def _decoder(model: Model) -> Model:
    processor = PrePostProcessor(model)
    processor.input().tensor().set_element_type(Type.i64)
    return processor.build()


def _by_id(vocabulary) -> list[str]:
    pieces = [""] * (max(vocabulary.values()) + 1)
    for piece, index in vocabulary.items():
        pieces[index] = piece
    return pieces


def _sentence_pieces(tokenizer, start, padding, special) -> tuple[Model, Model]:
    import sentencepiece

    proto = tokenizer.proto
    known = sentencepiece.SentencePieceProcessor(model_proto=proto)
    silent = next((n for n in range(known.GetPieceSize()) if known.IsControl(n)), None)
    encoder = sentence_pieces.encoder(proto, start, padding, tokenizer.add_bos, tokenizer.add_eos)
    return encoder, sentence_pieces.decoder(proto, silent, special)


_KINDS = {
    "keras_hub.src.tokenizers.byte_pair_tokenizer:BytePairTokenizer": _byte_pairs,
    "keras_hub.src.tokenizers.sentence_piece_tokenizer:SentencePieceTokenizer": _sentence_pieces,
}
