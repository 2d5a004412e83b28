"""Text as it is generated: `stream`, and `Conversation`, which keeps what has been read."""

from __future__ import annotations

import functools
import weakref
from collections.abc import Generator, Mapping, Sequence
from typing import Any, NamedTuple, overload

import numpy as np

from kerasvino.backend.ops.core.convert import convert_to_numpy
from kerasvino.generate import hub
from kerasvino.generate.pieces import Pieces, text_of
from kerasvino.generate.sampling import chooses
from kerasvino.generate.session import Session
from kerasvino.generate.stateful import versions
from kerasvino.generate.tasks import CAUSAL, task_of
from kerasvino.runtime import config

__all__ = ["Conversation", "stops_of", "stream"]

_NO_TASK = (
    "{what} takes a keras_hub.models.CausalLM, such as GPT2CausalLM or Qwen3CausalLM; given: "
    "{given}.{otherwise}"
)


@overload
def stream(
    model: Any,
    prompt: str | Mapping[str, Any],
    max_length: int | None = None,
    stop_token_ids: Any = "auto",
) -> Generator[str, None, None]: ...


@overload
def stream(
    model: Any,
    prompt: Sequence[int] | np.ndarray,
    max_length: int | None = None,
    stop_token_ids: Any = "auto",
) -> Generator[int, None, None]: ...


def stream(
    model: Any,
    prompt: Any,
    max_length: int | None = None,
    stop_token_ids: Any = "auto",
) -> Generator[Any, None, None]:
    """Generates as `model.generate` does, and yields what is new as soon as it is there.

    For example::

        for piece in kerasvino.stream(model, "Keras is", max_length=64):
            print(piece, end="", flush=True)

    The text of the prompt with all pieces behind it is what `model.generate` returns, with the same
    sampler and seed. Bytes that are not yet a character are held back until they are one. The next
    token is made when the next piece is asked for: leaving the loop, or `close()` of the generator,
    ends all work for it.

    Args:
        model: a `keras_hub.models.CausalLM`, compiled with a sampler that chooses token by token:
            greedy, top-k, top-p, random, or a user's own `get_next_token`.
        prompt: one prompt: a text, or what else the preprocessor of the model takes for it. If the
            model has no preprocessor: a sequence of ids, or the dict of padded arrays of one row
            that `generate` takes.
        max_length: of the prompt and what is generated, in tokens. Default: the `sequence_length`
            of the preprocessor. Needed with a sequence of ids.
        stop_token_ids: ids that end the text; "auto" for those of the tokenizer, None for none.

    Returns:
        A generator of texts; of ids if the model has no preprocessor, a stop token included.

    Raises:
        TypeError: `model` is no CausalLM, or `prompt` is nothing that it takes.
        ValueError: several prompts, one without tokens or as long as `max_length`, or a sampler
            that knows no token before the end (beam search, contrastive search).
    """
    _check(model, "stream")
    begin = _Begin(model, prompt, max_length, stop_token_ids)
    return _streamed(begin)


def _streamed(begin: _Begin) -> Generator[Any, None, None]:
    with Session() as session:
        yield from begin.pieces(hub.tokens(begin.model, begin.inputs, begin.stops, session))


class Conversation:
    """A text that a model and its user write in turns; each turn reads only what is new.

    For example::

        chat = kerasvino.Conversation(model)
        for piece in chat.stream("Question: what is Keras?\\nAnswer:", max_length=256):
            print(piece, end="")
        print(chat.generate("\\nQuestion: who wrote it?\\nAnswer:", max_length=512))

    A turn generates what `model.generate` would for all the text so far: what was given and what
    was yielded. Prompts are put behind that text as they are; where a model expects marks of turns
    (such as `<start_of_turn>user`), they are part of the prompts. The text is tokenized as a whole,
    and what the model has read already of these tokens is not read again. When variables, layers
    or settings change between two turns, all of it is.

    A conversation is used by one thread at a time; several may have one each.

    Args:
        model: as of `stream`.

    Raises:
        TypeError: `model` is no CausalLM.
    """

    def __init__(self, model: Any):
        _check(model, "Conversation")
        self._model = model
        self._said: Any = [] if model.preprocessor is None else ""
        self._session = Session()
        self._held: list[int] = []  # the ids that the session has read
        self._basis: _Basis | None = None  # and with what
        self._turn: weakref.ref | None = None

    def __enter__(self) -> Conversation:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def history(self) -> Any:
        """All that was given and yielded so far: a text; a list of ids without a preprocessor."""
        return self._said if isinstance(self._said, str) else list(self._said)

    def stream(
        self, prompt: Any, max_length: int | None = None, stop_token_ids: Any = "auto"
    ) -> Generator[Any, None, None]:
        """Yields the answer to `prompt`, as the function `stream` does.

        What an answer that was broken off has yielded is part of the text. A turn ends the one
        before it.

        Args:
            prompt: a text; a sequence of ids if the model has no preprocessor.
            max_length: of all the text, in tokens. Default: as of `stream`.
            stop_token_ids: as of `stream`.

        Raises:
            TypeError: `prompt` is nothing of that.
            ValueError: as of `stream`.
            RuntimeError: another thread is within a turn of this conversation.
        """
        self._end_turn()
        if isinstance(self._said, str) != isinstance(prompt, str) or isinstance(prompt, Mapping):
            takes = "a text" if isinstance(self._said, str) else "a sequence of ids"
            raise TypeError(f"A turn of this conversation is {takes}; given: {_shown(prompt)}.")
        said = self._said + (prompt if isinstance(prompt, str) else _ids(prompt))
        begin = _Begin(self._model, said, max_length, stop_token_ids)
        self._said = said
        turn = self._answer(begin)
        self._turn = weakref.ref(turn)
        return turn

    def generate(
        self, prompt: Any, max_length: int | None = None, stop_token_ids: Any = "auto"
    ) -> Any:
        """The answer to `prompt`, whole. Arguments and errors as of the method `stream`."""
        pieces = list(self.stream(prompt, max_length, stop_token_ids))
        return "".join(pieces) if isinstance(self._said, str) else pieces

    def close(self) -> None:
        """Gives back the memory of what was read; a further turn would read it again."""
        self._end_turn()
        self._forget()

    def _answer(self, begin: _Begin) -> Generator[Any, None, None]:
        if self._basis is not None and not self._basis.holds(self._model):
            self._forget()
        ids = begin.ids
        kept = _common(self._held, ids)
        if kept < self._session.length:
            self._session.shorten(kept)
        chosen = hub.tokens(self._model, begin.inputs, begin.stops, self._session)
        try:
            for piece in begin.pieces(_noting(chosen, ids)):
                self._said = self._said + (piece if isinstance(piece, str) else [piece])
                yield piece
        except GeneratorExit:
            raise
        except BaseException:
            self._forget()  # what a run that failed has read is not known
            raise
        finally:
            self._held = ids[: self._session.length]
            self._basis = _Basis.of(self._model)

    def _forget(self) -> None:
        self._session.close()
        self._session, self._held, self._basis = Session(), [], None

    def _end_turn(self) -> None:
        turn = None if self._turn is None else self._turn()
        try:
            if turn is not None:
                turn.close()
        except ValueError as error:  # it is running
            raise RuntimeError(
                "Another thread is within a turn of this conversation; give each thread one of its "
                "own."
            ) from error


class _Begin:
    """What a generation begins with.

    Attributes:
        inputs: of `generate_step`.
        stops: ids that end it, or None.
        ids: list of those of the prompt.
    """

    def __init__(self, model, prompt, max_length, stop_token_ids):
        _check_sampler(model)
        self.model = model
        if model.preprocessor is not None:
            self.inputs, self.stops = _preprocessed(model, prompt, max_length, stop_token_ids)
        else:
            self.inputs = _padded(prompt, max_length)
            self.stops = _checked_stops(stop_token_ids)
        ids, mask = self.inputs["token_ids"], self.inputs["padding_mask"]
        if len(ids) != 1:
            raise ValueError(
                f"One text is generated at a time; given are {len(ids)} prompts. Call "
                "model.generate with them, or stream each in a thread."
            )
        self.ids = ids[0][mask[0].astype(bool)].tolist()
        if not self.ids:
            raise ValueError("The prompt has no tokens.")
        if len(self.ids) >= ids.shape[1]:
            raise ValueError(
                f"The prompt takes all of max_length, {ids.shape[1]} tokens. Give a larger "
                "max_length, or a shorter prompt."
            )

    def pieces(self, chosen):
        """What is yielded of the tokens `chosen`."""
        if self.model.preprocessor is None:
            yield from chosen
            return
        pieces = Pieces(functools.partial(text_of, self.model), self.ids)
        for token in chosen:
            piece = pieces.add(token)
            if piece:
                yield piece
        if rest := pieces.rest():
            yield rest


class _Basis(NamedTuple):
    """With what the state of a conversation was computed."""

    versions: list
    arrays: list
    settings: config.Settings

    @classmethod
    def of(cls, model) -> _Basis:
        return cls(versions(model), [v._value for v in model.weights], config.get())

    def holds(self, model) -> bool:
        """Whether a program of `model` would compute the same now."""
        now = _Basis.of(model)
        return (
            now.settings == self.settings
            and len(now.arrays) == len(self.arrays)
            and all(a is b for a, b in zip(now.arrays, self.arrays, strict=True))
            and len(now.versions) == len(self.versions)
            and all(
                a is b and a.is_current() for a, b in zip(now.versions, self.versions, strict=True)
            )
        )


def _noting(chosen, ids: list):
    for token in chosen:
        ids.append(token)
        yield token


def _common(first: list, second: list) -> int:
    """How long the beginning is that two lists share."""
    pairs = enumerate(zip(first, second, strict=False))
    return next((n for n, (a, b) in pairs if a != b), min(len(first), len(second)))


def _check(model, what: str) -> None:
    if task_of(model) != CAUSAL:
        otherwise = " It has generate, which returns all at once." * hasattr(model, "generate")
        raise TypeError(_NO_TASK.format(what=what, given=_shown(model), otherwise=otherwise))


def _check_sampler(model) -> None:
    if not chooses(model.sampler):
        raise ValueError(
            f"{type(model.sampler).__name__} does not choose token by token: its text is known at "
            'the end. Compile the model with "greedy", "top_k", "top_p" or "random", or call '
            "model.generate."
        )


def stops_of(model) -> list[int]:
    """The ids that end a text that `model` generates by itself; it has a preprocessor."""
    return list(_preprocessed(model, "a", None, "auto")[1] or ())


def _preprocessed(model, prompt, max_length, stop_token_ids) -> tuple:
    """The inputs and stop tokens with which `generate` itself would begin."""
    if not isinstance(prompt, (str, Mapping)):
        raise TypeError(
            f"The prompt is one text; given: {_shown(prompt)}. For ids, set model.preprocessor to "
            "None."
        )
    prompt = dict(prompt) if isinstance(prompt, Mapping) else prompt
    with hub.asked() as calls:
        model.generate(prompt, max_length=max_length, stop_token_ids=stop_token_ids)
    if len(calls) != 1:
        raise TypeError(f"{type(model).__name__}.generate does not call its generate_step once.")
    return calls[0]


def _padded(prompt, max_length) -> dict:
    """The inputs of `generate_step` of a task without a preprocessor."""
    if isinstance(prompt, Mapping):
        missing = {"token_ids", "padding_mask"} - prompt.keys()
        if missing:
            raise TypeError(f"The prompt lacks {' and '.join(sorted(missing))}.")
        return {k: v if v is None else convert_to_numpy(v) for k, v in prompt.items()}
    ids = _ids(prompt)
    if max_length is None:
        raise ValueError("Give max_length, the most tokens of the prompt and the text behind it.")
    padded = np.zeros((1, max(int(max_length), len(ids))), np.int32)
    padded[0, : len(ids)] = ids
    return {"token_ids": padded, "padding_mask": np.arange(padded.shape[1])[None] < len(ids)}


def _ids(prompt) -> list[int]:
    if isinstance(prompt, str):
        raise TypeError("The model has no preprocessor: the prompt is a sequence of ids, no text.")
    array = convert_to_numpy(prompt)
    if array.shape == (0,):
        return []
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise TypeError(f"The prompt is a sequence of ids; given: {_shown(prompt)}.")
    return array.tolist()


def _checked_stops(stop_token_ids):
    if isinstance(stop_token_ids, str):
        raise ValueError(
            "stop_token_ids is 'auto', which asks the preprocessor, and the model has none. Give "
            "ids, or None to generate max_length tokens."
        )
    return None if stop_token_ids is None else tuple(int(token) for token in stop_token_ids)


def _shown(value) -> str:
    """A value in an error's message."""
    return repr(value) if isinstance(value, (str, int, float, type(None))) else type(value).__name__
