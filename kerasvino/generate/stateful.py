"""Generation step by step: KerasHub's own `generate_step` on the host, over a compiled step.

A task's `generate_step` and its sampler run as they are, on concrete tensors. They call
`call_with_cache` for each token; here that is a program which keeps the cache as state
(`generate.steps`). What they hold for the cache instead is a vector of row numbers, int32 [batch]:
for each row of the batch, which row of the state it goes on with. A sampler repeats, chooses and
rearranges the rows of the cache; it does so with the numbers, and nothing is copied.

The prompt is read in one run with its last token, when the sampler asks for the first new one.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import threading
import weakref

import numpy as np

from kerasvino.backend.keras_private import tree
from kerasvino.backend.ops.core.convert import convert_to_numpy, convert_to_tensor
from kerasvino.generate.sampling import chooses, one_by_one
from kerasvino.generate.session import Session
from kerasvino.generate.steps import Steps
from kerasvino.primitives.memory import NotAppended
from kerasvino.tensor import Tensor

__all__ = ["step_by_step", "token_by_token", "versions"]

# The methods that are steps: what their new tokens, their cache and its position are called.
METHODS = {
    "call_with_cache": ("token_ids", "cache", "cache_update_index"),
}

_of_thread = threading.local()
_steps: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()


def step_by_step(model, inputs, stop_token_ids):
    """`model.generate_step(inputs, stop_token_ids)`, its steps compiled.

    Raises:
        NotAppended: the model does not keep its cache as KerasHub's decoders do.
    """
    with Session() as session:
        return _generated(_Run(model, session), inputs, stop_token_ids)


def token_by_token(model, inputs, stop_token_ids, session: Session):
    """The ids [batch, length] and the place of each token, as soon as a sampler has chosen it.

    The sampler is one that `chooses`. What `session` holds is the beginning of the inputs, which
    is not read again.

    Raises:
        NotAppended: as of `step_by_step`.
    """
    run = _Run(model, session, waits=True)
    _generated(run, inputs, stop_token_ids)
    if run.choices is None:
        raise NotAppended(f"{type(model).__name__} does not ask its sampler for tokens.")
    while True:
        with run.current():  # whoever asks for the next one may be another thread
            place = next(run.choices, None)
        if place is None:
            return
        yield run.ids, place


def versions(model) -> list:
    """Of the compiled steps of `model`: what has been computed with other ones is not its own."""
    return [steps.version for steps in _steps.get(model, {}).values()]


def _generated(run: _Run, inputs, stop_token_ids):
    model = run.model
    if not any(_is_step(model, name) for name in METHODS):
        raise NotAppended(
            f"{type(model).__name__} has no {' or '.join(METHODS)} of the usual kind."
        )
    with run.current():
        return _stand_in(model).generate_step(
            tree.map_structure(convert_to_tensor, inputs), stop_token_ids
        )


def _is_step(model, name: str) -> bool:
    method = getattr(model, name, None)
    return method is not None and set(METHODS[name]) <= inspect.signature(method).parameters.keys()


def _stand_in(model):
    """An object that is `model` in all but the methods of METHODS."""
    stand_in = object.__new__(_kind(type(model)))
    object.__setattr__(stand_in, "__dict__", model.__dict__)
    return stand_in


@functools.cache
def _kind(cls):
    def forwarded(name):
        def method(self, *args, **kwargs):
            return _of_thread.run.call(name, args, kwargs)

        return method

    members = {name: forwarded(name) for name in METHODS if hasattr(cls, name)}
    return type(cls.__name__, (cls,), {**members, "sampler": property(_sampler)})


def _sampler(self):
    """In place of a sampler that only chooses tokens, one whose choice is made in the program."""
    sampler, run = self.__dict__["sampler"], _of_thread.run
    return run.sample if chooses(sampler) else sampler


class _Run:
    """One generation.

    Args:
        model: the task.
        session: what has been read of it so far.
        waits: whether tokens are chosen when they are asked for, of `choices`, and not while
            `generate_step` runs.

    Attributes:
        ids: tokens [batch, length], None before the sampler is asked for any.
        choices: yields the place of each token as it is chosen; None before that.
    """

    def __init__(self, model, session: Session, waits: bool = False):
        self.model, self._session, self._waits = model, session, waits
        self.ids, self.choices = None, None
        self._prompt: _Prompt | None = None
        self._begun = False  # whether a step has been run
        self._sampler = None  # whose probabilities are made in the program
        self._logits: Tensor | None = None  # of the program, until they have been compared
        self._probabilities: Tensor | None = None

    def sample(
        self, next, prompt, cache=None, index=0, mask=None, stop_token_ids=None,
        hidden_states=None, model=None, **kwargs,
    ):  # fmt: skip
        """Is called as the model's sampler is."""
        sampler = self._sampler = self.model.sampler

        def chosen(logits):
            if self._logits is not None:  # the first: do tokens depend on anything else?
                if not np.array_equal(logits, np.squeeze(self._logits, 1), equal_nan=True):
                    self._sampler = None
                self._logits = None
            made = self._sampler is None
            found = sampler.compute_probabilities(logits) if made else self._probabilities
            return convert_to_numpy(sampler.get_next_token(found))

        self.ids = np.array(convert_to_numpy(prompt))
        self.choices = one_by_one(chosen, next, self.ids, cache, index, mask, stop_token_ids)
        if self._waits:
            return prompt
        for _ in self.choices:
            pass
        return Tensor._wrap(self.ids)

    @contextlib.contextmanager
    def current(self):
        """Methods of a stand-in that this thread calls belong to this generation."""
        outer = getattr(_of_thread, "run", None)
        _of_thread.run = self
        try:
            yield
        finally:
            _of_thread.run = outer

    def call(self, name: str, args: tuple, kwargs: dict):
        """What the method `name` of the model returns, by its program."""
        ids, cache, index = METHODS[name]
        method = getattr(self.model, name)
        given = _named(method, args, kwargs)
        past, at = given.pop(cache), int(convert_to_numpy(given.pop(index)))
        if isinstance(past, Tensor) and past.ndim == 1 and past.dtype == "int32":
            if self._prompt.is_text:  # what is written again is what there was
                given.pop("cache_update_mask", None)
            return self._step(_steps_of(self.model, name), ids, given, past.numpy(), at)
        batch, length = given[ids].shape
        shapes = [leaf.shape for leaf in tree.flatten(past)]
        fits = all(len(s) > 3 and (s[0], s[-3]) == (batch, length) for s in shapes)
        if at != 0 or not fits or self._prompt is not None:
            raise NotAppended(f"{name} is given caches of shapes {shapes} at position {at}.")
        self._prompt = _Prompt(
            {k: _tensors(v) for k, v in given.items()},
            ids,
            past,
            lambda: method(**given, **{cache: past, index: 0}),
        )
        return _Later(self._prompt.logits), _Later(self._prompt.hidden), _rows(batch)

    def _step(self, steps, ids, given, rows, at):
        session, prompt = self._session, self._prompt
        if at < session.length:
            session.shorten(at)
        held, begins = session.length, not self._begun
        self._begun = True
        reads = begins and held < at
        if reads:
            before = prompt.between(held, at)
            batch = len(before[ids].numpy())
            if np.array_equal(rows, np.arange(batch)) and before.keys() == given.keys() == {ids}:
                together = np.concatenate([before[ids].numpy(), given[ids].numpy()], axis=1)
                given = {**given, ids: Tensor._wrap(together)}
                at = held
            else:
                found = session.run(
                    *steps.of(before, prompt.cache), at - held, _rows(batch).numpy()
                )
                prompt.read(found[1].numpy())
        if at != session.length:
            raise NotAppended(f"The position is {at}, and the cache holds {session.length}.")
        new = given[ids].shape[1]
        if self._sampler is not None:
            return *self._with_probabilities(steps, given, rows, new), _rows(len(rows))
        logits, hidden = session.run(*steps.of(given, prompt.cache), new, rows)
        if reads and new > 1:
            prompt.read(hidden.numpy())
            hidden = Tensor._wrap(hidden.numpy()[:, -1:])
        return logits, hidden, _rows(len(rows))

    def _with_probabilities(self, steps, given, rows, new):
        """Logits and hidden states of a step that makes probabilities as well.

        Nobody looks at the first two once it is known that tokens depend on these logits alone.
        """
        first = self._probabilities is None
        stepped, tensors = steps.of(given, self._prompt.cache, self._sampler)
        logits, _, found = self._session.run(stepped, tensors, new, rows, (0, 2) if first else (2,))
        self._logits, self._probabilities = logits, found
        none = Tensor._wrap(np.zeros((len(rows), 1, 1), np.float32))
        return logits if first else none, none


class _Prompt:
    """What the first call of a step was given, which is read when the second is made.

    Args:
        given: its arguments but for the cache, tensors of as many positions as will be generated.
        ids: what the tokens are called among them.
        cache: the empty cache.
        call: runs the method itself, without a program.
    """

    def __init__(self, given, ids, cache, call):
        self._given = {name: value for name, value in given.items() if value is not None}
        self._ids, self._length, self.cache = ids, given[ids].shape[1], cache
        self._call = functools.cache(call)
        self._hidden = None

    def between(self, start: int, end: int) -> dict:
        """The arguments cut to the positions from `start` to `end`."""

        def cut(leaf):
            if isinstance(leaf, Tensor) and leaf.ndim > 1 and leaf.shape[1] == self._length:
                return Tensor._wrap(leaf.numpy()[:, start:end])
            return leaf

        cut_to = {name: tree.map_structure(cut, value) for name, value in self._given.items()}
        mask = cut_to.get("padding_mask")
        if isinstance(mask, Tensor) and mask.numpy().all():
            del cut_to["padding_mask"]
        return cut_to

    @property
    def is_text(self) -> bool:
        """Whether it holds tokens and nothing else."""
        given = [name for name, value in self._given.items() if tree.flatten(value)]
        return set(given) <= {self._ids, "padding_mask"}

    def read(self, hidden: np.ndarray) -> None:
        """Keeps the hidden states of the positions read so far, zeros behind them."""
        shape = (hidden.shape[0], self._length, *hidden.shape[2:])
        self._hidden = np.zeros(shape, hidden.dtype)
        self._hidden[:, : hidden.shape[1]] = hidden

    def logits(self):
        return self._call()[0]

    def hidden(self):
        return self._call()[1] if self._hidden is None else Tensor._wrap(self._hidden)


class _Later:
    """A tensor that is computed when somebody asks for it, which samplers seldom do."""

    def __init__(self, compute):
        self._compute = compute

    def __array__(self, dtype=None, copy=None):
        return self._compute().__array__(dtype, copy)

    def __getattr__(self, name):
        return getattr(self._compute(), name)

    def __getitem__(self, key):
        return self._compute()[key]


def _rows(count: int) -> Tensor:
    return Tensor._wrap(np.arange(count, dtype=np.int32))


def _tensors(value):
    return tree.map_structure(
        lambda x: convert_to_tensor(x) if isinstance(x, np.ndarray) else x, value
    )


def _named(method, args, kwargs) -> dict:
    """The arguments of a call by name, those without None."""
    given = inspect.signature(method).bind(*args, **kwargs).arguments
    return {name: value for name, value in given.items() if value is not None}


def _steps_of(model, name: str) -> Steps:
    known = _steps.setdefault(model, {})
    if name not in known:
        itself = weakref.ref(model)  # else the programs would keep their own key alive
        known[name] = Steps(
            itself, lambda **given: getattr(itself(), name)(**given), *METHODS[name]
        )
    return known[name]
