"""Small random models with tokenizers of a few hundred pieces, made here.

Pieces are single bytes, a few words and parts of words; so characters that are not ASCII consist of
several tokens, and some tokens hold the end of one character and the beginning of the next.
"""

import functools
import io

from tests.generate import families

SENTENCES = (
    "Keras is an API for deep learning. The quick brown fox jumps over the lazy dog.",
    "Größe, façade, naïve: Wörter mit Zeichen, die nicht ASCII sind.",
    "日本語の文章と、한국어 문장과 emoji 🙂🚀👩‍🔬 in one line.",
)  # fmt: skip
# Pairs that become one piece, of the characters that stand for bytes; the last three join bytes of
# different characters.
_WORDS = ("The", " the", " is", "Ker", "as", " learn", "ing", " quick", "fox", " do", "nt", "öß")
_ACROSS = (b"\xc3\xb6\xc3", b"\x9f\x99", b"\xe6\x97")


def _bytes_as_characters():
    """{byte: the character that stands for it}, as in GPT-2's vocabulary."""
    shown = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in shown]
    return {b: chr(b) for b in shown} | {b: chr(256 + n) for n, b in enumerate(others)}


@functools.cache
def byte_pairs(*special):
    """(vocabulary, merges) of a byte-pair encoding with these special tokens at the end."""
    characters = _bytes_as_characters()
    pieces, merges = list(characters.values()), []
    for word in (*(word.encode() for word in _WORDS), *_ACROSS):
        shown = [characters[byte] for byte in word]
        joined = shown[0]
        for character in shown[1:]:
            if joined + character not in pieces:
                merges.append(f"{joined} {character}")
                pieces.append(joined + character)
            joined += character
    return {piece: n for n, piece in enumerate([*pieces, *special])}, merges


@functools.cache
def sentence_pieces(model_type, *special, control=("<s>", "</s>")):
    """A SentencePiece model, serialized: bytes are pieces, so that all texts have tokens.

    Its first ids are those of padding, the two control tokens and what is unknown.
    """
    import sentencepiece

    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(SENTENCES * 8), model_writer=written, vocab_size=340,
        model_type=model_type, byte_fallback=True, character_coverage=0.98,
        pad_id=0, bos_id=1, eos_id=2, unk_id=3, pad_piece="<pad>", bos_piece=control[0],
        eos_piece=control[1], unk_piece="<unk>", user_defined_symbols=list(special),
        hard_vocab_limit=False, minloglevel=2, normalization_rule_name="identity",
        remove_extra_whitespaces=False,
    )  # fmt: skip
    return written.getvalue()


def _byte_pair(name, *special, **options):
    def made(tokenizers):
        vocabulary, merges = byte_pairs(*special)
        return getattr(tokenizers, f"{name}Tokenizer")(
            vocabulary=vocabulary, merges=merges, **options
        )

    return made


def _sentence_piece(name, *args, **options):
    return lambda tokenizers: getattr(tokenizers, f"{name}Tokenizer")(
        proto=sentence_pieces(*args, **options)
    )


TOKENIZERS = {
    "GPT2": _byte_pair("GPT2", "<|endoftext|>"),
    "Llama3": _byte_pair(
        "Llama3", "<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>", "<|start_header_id|>",
        "<|end_header_id|>",
    ),
    "Qwen3": _byte_pair("Qwen3", "<|endoftext|>", "<|im_end|>", "<|im_start|>"),
    "Gemma": _sentence_piece("Gemma", "unigram", control=("<bos>", "<eos>")),
    "Llama": _sentence_piece("Llama", "bpe"),
}  # fmt: skip


def tokenizer_of(family):
    import keras_hub

    return TOKENIZERS[family](keras_hub.tokenizers)


def model_of(family, sampler="greedy", length=48, **changed):
    """The task of `family` with a preprocessor for `length` tokens; see `families.model_of`."""
    import keras_hub

    tokenizer = tokenizer_of(family)
    if "max_sequence_length" in families.DECODERS[family][1]:
        changed.setdefault("max_sequence_length", 4 * length)
    size = tokenizer.vocabulary_size()
    model = families.model_of(family, sampler, vocabulary_size=size, **changed)
    kind = getattr(keras_hub.models, f"{family}CausalLMPreprocessor")
    model.preprocessor = kind(tokenizer, sequence_length=length)
    return model
