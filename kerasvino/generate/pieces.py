"""Text of a sequence of tokens that grows: what is new in it, as soon as it cannot change."""

from __future__ import annotations

import numpy as np

__all__ = ["Pieces", "text_of"]

# What decoders put in the place of bytes that are no character, or not yet one.
INCOMPLETE = "\N{REPLACEMENT CHARACTER}"
# So many tokens are decoded again for each new one, at least and at most.
LEAST, MOST = 16, 64


def text_of(model, ids) -> str:
    """The text of `ids`, without special tokens, as `model.generate` returns it."""
    ids = np.asarray(ids, np.int32)[None]
    mask = np.ones(ids.shape, bool)
    text = model.preprocessor.generate_postprocess({"token_ids": ids, "padding_mask": mask})
    text = np.asarray(text).reshape(-1)[0]
    return text.decode("utf-8", "replace") if isinstance(text, bytes) else str(text)


class Pieces:
    """The text of tokens that come one by one, in pieces that together are the text of all.

    A character may consist of several tokens. As long as the text ends with bytes that are no
    character, they are held back, to the next token that completes them or to the end.

    Decoders treat the beginning of a text in another way than the rest: that of SentencePiece
    drops a space there. So a few tokens before a new one are decoded with it, and what is new is
    what they do not have by themselves.

    Args:
        decoded: `decoded(ids)` -> text.
        ids: that there are before, whose text is no part of the pieces.
    """

    def __init__(self, decoded, ids):
        self._decoded = decoded
        self._ids = [int(token) for token in ids]
        self._start = 0  # of the tokens that are decoded again
        self._told = len(decoded(self._ids))  # characters of their text that are known
        self._shorten()

    def add(self, token: int) -> str:
        """The text that is complete with one more token; may be empty."""
        self._ids.append(int(token))
        text = self._decoded(self._ids[self._start :])
        complete = text.rstrip(INCOMPLETE)
        if len(complete) <= self._told:
            return ""
        piece, self._told = complete[self._told :], len(complete)
        if complete == text and len(self._ids) - self._start >= MOST:
            self._shorten()
        return piece

    def rest(self) -> str:
        """What has been held back, when no more tokens come."""
        text = self._decoded(self._ids[self._start :])
        piece, self._told = text[self._told :], len(text)
        return piece

    def _shorten(self) -> None:
        """Decodes fewer tokens again, if these have a text of their own."""
        start = max(self._start, len(self._ids) - LEAST)
        text = self._decoded(self._ids[start:])
        if text and not text.endswith(INCOMPLETE):
            self._start, self._told = start, len(text)
