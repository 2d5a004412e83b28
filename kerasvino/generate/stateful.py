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
from kerasvino.errors import LoweringError
from kerasvino.generate.around import compiled, encoding
from kerasvino.generate.contract import CONTRACTS, FIXED, Contract, contract_of
from kerasvino.generate.prompt import Later, Prompt
from kerasvino.generate.sampling import chooses, greatest, is_greedy, one_by_one
from kerasvino.generate.session import Session, kept_of
from kerasvino.generate.steps import Steps
from kerasvino.primitives.memory import NotAppended
from kerasvino.tensor import Tensor

__all__ = ["NotThisTime", "empty_cache", "step_by_step", "token_by_token", "versions"]

_of_thread = threading.local()
_signatures: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()
_steps: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()
# Tasks whose `_build_cache` calls a step.
_reaching: weakref.WeakSet = weakref.WeakSet()


class NotThisTime(NotAppended):
    """These inputs cannot be served step by step; others may be."""


def step_by_step(model, inputs, stop_token_ids):
    """`model.generate_step(inputs, stop_token_ids)`, its steps compiled.

    Raises:
        NotAppended: the model does not keep its cache as KerasHub's decoders do, or, as
            NotThisTime, not with these inputs. Seeds are as they were.
    """
    with Session() as session, _seeds(model.sampler):
        return _generated(_Run(model, session), inputs, stop_token_ids)


def token_by_token(model, inputs, stop_token_ids, session: Session):
    """The ids [batch, length] and the place of each token, as soon as a sampler has chosen it.

    The sampler is one that `chooses`. What `session` holds is the beginning of the inputs, which
    is not read again.

    Raises:
        NotAppended: as of `step_by_step`.
    """
    run = _Run(model, session, waits=True)
    with _seeds(model.sampler):
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


@contextlib.contextmanager
def _seeds(sampler):
    """Gives a sampler its seeds back where a generation has to begin anew, in another way."""
    seeds = [(variable, variable.value) for variable in getattr(sampler, "variables", ())]
    try:
        yield
    except NotAppended:
        for variable, value in seeds:
            variable.assign(value)
        raise


def _generated(run: _Run, inputs, stop_token_ids):
    model = run.model
    with run.current():
        return _stand_in(model).generate_step(
            tree.map_structure(convert_to_tensor, inputs), stop_token_ids
        )


def _stand_in(model):
    """An object that is `model` in all but the methods that are compiled."""
    stand_in = object.__new__(_kind(type(model)))
    object.__setattr__(stand_in, "__dict__", model.__dict__)
    return stand_in


@functools.cache
def _kind(cls):
    def forwarded(name, to):
        def method(self, *args, **kwargs):
            return getattr(_of_thread.run, to)(name, args, kwargs)

        return method

    members = {c.method: forwarded(c.method, "call") for c in CONTRACTS if hasattr(cls, c.method)}
    for name, to in (("call_encoder", "encode"), ("_build_cache", "build")):
        if callable(getattr(cls, name, None)):
            members[name] = forwarded(name, to)
    members["sampler"] = property(_sampler)
    if hasattr(cls, "backbone"):
        members["backbone"] = property(_backbone)
    return type(cls.__name__, (cls,), members)


def _sampler(self):
    """In place of a sampler that only chooses tokens, one whose choice is made in the program."""
    sampler, run = self.__dict__["sampler"], _of_thread.run
    return run.sample if chooses(sampler) else sampler


def _backbone(self):
    return _of_thread.run.backbone


class _StepReached(Exception):
    """Code that is compiled calls a step."""


class _Building:
    """In place of a `_Run` while `_build_cache` is traced: it may not call steps."""

    def __init__(self, model):
        self.backbone = getattr(model, "backbone", None)
        self.model = model

    def call(self, name, args, kwargs):
        raise _StepReached(name)

    def encode(self, name, args, kwargs):
        return getattr(self.model, name)(*args, **kwargs)

    build = encode


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

    Raises:
        NotAppended: the model has no step.
    """

    def __init__(self, model, session: Session, waits: bool = False):
        contract = contract_of(model)
        if contract is None:
            methods = " or ".join(sorted({c.method for c in CONTRACTS}))
            raise NotAppended(f"{type(model).__name__} has no {methods} of the usual kind.")
        self.model, self._contract = model, contract
        self._session, self._waits = session, waits
        self.ids, self.choices = None, None
        self._prompt: Prompt | None = None
        self._begun = False  # whether a step has been run
        self._cache = None  # empty, or as it was before the first step
        self._fixed: tuple[bytes, Tensor] | None = None  # by the rows that it was gathered of
        self._sampler = None  # whose probabilities are made in the program
        self._logits: Tensor | None = None  # of the program, until they have been compared
        self._probabilities: Tensor | None = None

    @property
    def backbone(self):
        return encoding(self.model)

    def encode(self, name: str, args: tuple, kwargs: dict):
        """What the method `name` of the model returns, by a program."""
        itself = weakref.ref(self.model)
        call = compiled(self.model, name, lambda *a, **k: getattr(itself(), name)(*a, **k))
        return call(*args, **kwargs)

    def build(self, name: str, args: tuple, kwargs: dict):
        """What `_build_cache` returns: by a program, or by a step if it calls one."""
        model = self.model
        if model not in _reaching:
            try:
                return compiled(model, name, _built(weakref.ref(model), name))(*args, **kwargs)
            except _StepReached:
                _reaching.add(model)
        return getattr(type(model), name)(_stand_in(model), *args, **kwargs)

    def sample(
        self, next, prompt, cache=None, index=0, mask=None, stop_token_ids=None,
        hidden_states=None, model=None, **kwargs,
    ):  # fmt: skip
        """Is called as the model's sampler is."""
        sampler = self.model.sampler
        greedy = is_greedy(sampler)
        self._sampler = None if greedy else sampler

        def chosen(logits):
            if self._logits is not None:  # the first: do tokens depend on anything else?
                if not np.array_equal(logits, np.squeeze(self._logits, 1), equal_nan=True):
                    self._sampler = None
                self._logits = None
            made = self._sampler is None
            found = greatest(logits) if greedy else None
            if found is not None:
                return found
            found = sampler.compute_probabilities(logits) if made else self._probabilities
            return convert_to_numpy(sampler.get_next_token(found))

        self.ids = np.array(convert_to_numpy(prompt))
        self.choices = one_by_one(chosen, next, self.ids, cache, index, mask, stop_token_ids)
        if self._waits:
            return prompt
        for _ in self.choices:
            pass
        return Tensor._wrap(self.ids)

    @property
    def contract(self) -> Contract:
        """How the step of the model is called."""
        return self._contract

    @property
    def cache(self):
        """The empty cache that the prompt was read with; None before that."""
        return self._cache

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
        contract = self._contract
        given = _named(getattr(self.model, name), args, kwargs)
        cache, fixed, at = contract.taken(given)
        at = int(convert_to_numpy(at))
        if not _is_rows(cache):
            if self._cache is not None:
                raise NotAppended(f"{name} is given two caches that are values.")
            if at == 0:
                return self._begin(given, cache, fixed)
            self._adopt(cache, at)
            cache = _rows(len(tree.flatten(cache)[0]))
        mask = given.get("cache_update_mask")
        if mask is not None:
            self._check_written(given.pop("cache_update_mask"), at)
        if contract.has_fixed and fixed is not None:
            given[FIXED] = self._gathered(fixed)
        logits, hidden = self._step(given, cache.numpy(), at)
        return contract.results(logits, hidden, _rows(len(cache)), fixed)

    def _begin(self, given, cache, fixed):
        """The first call: what it is given is read when a token is asked for."""
        contract, method = self._contract, getattr(self.model, self._contract.method)
        batch, length = given[contract.ids].shape
        shapes = [tuple(leaf.shape) for leaf in tree.flatten(cache)]
        if not all(len(s) > 3 and s[0] == batch and s[-3] >= length for s in shapes):
            raise NotAppended(f"{contract.method} is given caches of shapes {shapes}.")
        given = {name: _tensors(value) for name, value in given.items()}

        def call():
            return contract.call(method, given, cache, 0, fixed, begins=True)

        made = None
        if contract.has_fixed:
            made = self._made_once(given, cache, fixed)
        self._cache = cache
        self._prompt = Prompt(contract, given, cache, made, call)
        rows = _rows(batch)
        return contract.results(
            Later(self._prompt.logits), Later(self._prompt.hidden), rows,
            None if made is None else rows,
        )  # fmt: skip

    def _made_once(self, given, cache, fixed) -> Tensor:
        """What is fixed: the keys and values of the encoder's output."""
        contract, itself = self._contract, weakref.ref(self.model)

        def function(given, cache, fixed):
            method = getattr(itself(), contract.method)
            return contract.call(method, given, cache, 0, fixed, begins=True)[3]

        first = {name: value for name, value in given.items() if not name.startswith("decoder_")}
        first[contract.ids] = Tensor._wrap(given[contract.ids].numpy()[:, :1])
        short = tree.map_structure(lambda leaf: Tensor._wrap(leaf.numpy()[..., :1, :, :]), cache)
        return compiled(self.model, "fixed", function)(first, short, fixed)

    def _gathered(self, fixed: Tensor) -> Tensor:
        """What is fixed, for the rows that a step is for."""
        if not _is_rows(fixed):
            return fixed
        rows = fixed.numpy()
        key = rows.tobytes()
        if self._fixed is None or self._fixed[0] != key:
            whole = self._prompt.fixed
            same = np.array_equal(rows, np.arange(len(whole)))
            self._fixed = key, whole if same else Tensor._wrap(whole.numpy()[rows])
        return self._fixed[1]

    def _adopt(self, cache, at: int) -> None:
        """Begins with a cache that other code has filled up to the position `at`."""
        self._cache = cache
        past = {}
        for number, leaf in enumerate(tree.flatten(cache)):
            if leaf.ndim < 4 or leaf.shape[-3] < at:
                raise NotAppended(f"A cache of shape {leaf.shape} does not reach {at}.")
            past |= kept_of(f"past.{number}", leaf, at)
        self._session.begin(past, at)

    def _check_written(self, mask, at: int) -> None:
        """Where a step is told not to write, what it would write must be what there is."""
        prompt = self._prompt
        if prompt is not None and prompt.is_text_from(at):
            return
        if not np.all(convert_to_numpy(mask)):
            raise NotThisTime("Prompts of unequal lengths have images or sound.")

    def _step(self, given, rows, at):
        session, prompt = self._session, self._prompt
        steps = _steps_of(self.model, self._contract)
        if at < session.length:
            session.shorten(at)
        held, begins = session.length, not self._begun
        self._begun = True
        reads = begins and held < at
        if reads:
            given, at = self._read(steps, given, rows, held, at)
        if at != session.length:
            raise NotAppended(f"The position is {at}, and the cache holds {session.length}.")
        new = given[self._contract.ids].shape[1]
        if self._sampler is not None:
            return self._with_probabilities(steps, given, rows, new)
        logits, hidden = session.run(*steps.of(given, self._cache), new, rows)
        if reads and new > 1:
            prompt.read(hidden.numpy())
            hidden = Tensor._wrap(hidden.numpy()[:, -1:])
        return logits, hidden

    def _read(self, steps, given, rows, held, at) -> tuple[dict, int]:
        """Reads the prompt from the position `held` to `at`.

        Returns what is left to be read and where it begins: `given`, or both together.
        """
        session, prompt, ids = self._session, self._prompt, self._contract.ids
        if not prompt.is_text:
            self._read_whole(steps, at)
            return given, at
        before = prompt.between(held, at)
        batch = len(before[ids])
        if np.array_equal(rows, np.arange(batch)) and _alike(before, given, ids):
            both = np.concatenate([before[ids].numpy(), given[ids].numpy()], axis=1)
            return {**given, ids: Tensor._wrap(both)}, held
        stepped = steps.of(before, self._cache)
        found = session.run(*stepped, at - held, _rows(batch).numpy())
        prompt.read(found[1].numpy())
        return given, at

    def _read_whole(self, steps, at: int) -> None:
        """Reads all of a prompt with images or sound: its tokens may attend to later ones."""
        session, prompt, ids = self._session, self._prompt, self._contract.ids
        session.close()
        before, ahead = prompt.whole(), prompt.ahead
        batch, new = before[ids].shape[0], before[ids].shape[1] + ahead
        stepped = steps.of(before, self._cache, ahead=ahead)
        try:
            found = session.run(*stepped, new, _rows(batch).numpy())
        except LoweringError as error:  # more or fewer positions than `new`
            raise NotAppended(f"Reading the prompt fails: {error}") from error
        if session.counted() != new or new < at:
            raise NotAppended(f"{session.counted()} positions were read for {new}, {at} wanted.")
        prompt.read(found[1].numpy())
        session.shorten(at)

    def _with_probabilities(self, steps, given, rows, new):
        """Logits and hidden states of a step that makes probabilities as well.

        Nobody looks at the first two once it is known that tokens depend on these logits alone.
        """
        first = self._probabilities is None
        stepped, tensors = steps.of(given, self._cache, self._sampler)
        logits, _, found = self._session.run(stepped, tensors, new, rows, (0, 2) if first else (2,))
        self._logits, self._probabilities = logits, found
        none = Tensor._wrap(np.zeros((len(rows), 1, 1), np.float32))
        return logits if first else none, none


def _rows(count: int) -> Tensor:
    return Tensor._wrap(np.arange(count, dtype=np.int32))


def _tensors(value):
    return tree.map_structure(
        lambda x: convert_to_tensor(x) if isinstance(x, np.ndarray) else x, value
    )


def _named(method, args, kwargs) -> dict:
    """The arguments of a call by name, those without None."""
    function = getattr(method, "__func__", method)
    signature = _signatures.get(function)  # making one takes as long as all else on the host
    if signature is None:
        signature = _signatures[function] = inspect.signature(method)
    given = signature.bind(*args, **kwargs).arguments
    return {name: value for name, value in given.items() if value is not None}


def _is_rows(value) -> bool:
    return isinstance(value, Tensor) and value.ndim == 1 and value.dtype == "int32"


def _alike(before: dict, given: dict, ids: str) -> bool:
    """Whether the arguments of two runs are the same but for the tokens."""
    return before.keys() == given.keys() and all(
        name == ids
        or (isinstance(value, Tensor) and getattr(before[name], "_array", None) is value._array)
        for name, value in given.items()
    )


def _built(itself, name: str):
    """The method `name` of a model, which raises `_StepReached` where it calls a step."""

    def built(*args, **kwargs):
        model, outer = itself(), _of_thread.run
        _of_thread.run = _Building(model)
        try:
            return getattr(type(model), name)(_stand_in(model), *args, **kwargs)
        finally:
            _of_thread.run = outer

    return built


def _steps_of(model, contract: Contract) -> Steps:
    known = _steps.setdefault(model, {})
    if contract.method not in known:
        itself = weakref.ref(model)  # else the programs would keep their own key alive

        def call(**given):
            cache, index = given.pop(contract.cache), given.pop(contract.index)
            method = getattr(itself(), contract.method)
            return contract.call(method, given, cache, index, given.pop(FIXED, None))

        known[contract.method] = Steps(itself, call, contract.ids, contract.cache, contract.index)
    return known[contract.method]


def empty_cache(model) -> tuple[str, object]:
    """The name of the method that is a step of `model`, and the cache that it begins with.

    Only its shapes and dtypes mean anything.

    Raises:
        NotAppended: the model has no such step.
    """
    ids = np.ones((1, 4), np.int32)
    run = _Run(model, Session(), waits=True)
    _generated(run, {"token_ids": ids, "padding_mask": np.ones(ids.shape, bool)}, None)
    if run.cache is None:
        raise NotAppended(f"{type(model).__name__} makes no cache.")
    return run.contract.method, run.cache
