"""What is done with the model of one case: data, results, and what they are compared with.

The results of a look are compared with Keras's own `Layer.__call__`, `test_step` and `train_step`
on concrete tensors, layer by layer, without our shortened and compiled calls; in a StatelessScope
that starts from the values of variables before the look, so that the comparison changes nothing.
"""

from __future__ import annotations

import contextlib
import random
import warnings
from dataclasses import dataclass, field

import keras
import numpy as np
from keras import ops, tree

import kerasvino
from kerasvino import dtypes
from kerasvino.backend.model_calls import DirectCalls
from tests.model_fuzz import limits
from tests.model_fuzz.build import built
from tests.model_fuzz.changes import CHANGES
from tests.model_fuzz.comparison import difference
from tests.model_fuzz.looks import LOOKS
from tests.model_fuzz.plan import KINDS, Case

__all__ = ["Finding", "Session"]


@dataclass
class Finding:
    """What a look found.

    Attributes:
        look: its name.
        change: the latest change before it, or "none".
        kind: "differs", or the error's class: "raises ValueError", "accepts what raises …".
        what: in a few words.
    """

    look: str
    change: str
    kind: str
    what: str
    case: Case | None = None
    number: int | None = None

    @property
    def key(self):
        return self.change, self.look, self.kind

    def __str__(self):
        return f"{self.look} after {self.change}: {self.kind}: {self.what}"


@dataclass
class Session:
    """A model and what is known of it.

    Attributes:
        case: what is run.
        folder: for files.
        model: the one that is looked at now; actions may put another in its place.
        jitted: `kerasvino.jit(model)`, kept over changes.
        usual: (rows, length) of most looks.
        rough: names of the reasons for which results are compared with a larger tolerance.
    """

    case: Case
    folder: str
    model: keras.Model = None
    jitted: object = None
    usual: tuple[int, int] = (4, 6)
    change: str = "none"
    look: str = "none"
    rough: set = field(default_factory=set)
    findings: list[Finding] = field(default_factory=list)
    trains: bool = True

    def __post_init__(self):
        plan = self.case.plan
        self.steps = {name for name, _ in plan.steps}
        rng = random.Random(plan.seed)
        self.usual = rng.randint(2, 6), rng.choice([5, 6, 8])
        if plan.policy.startswith("mixed"):
            self.rough.add(plan.policy)
        self.use(built(plan))

    def use(self, model):
        """Goes on with another model."""
        self.model = model
        self.jitted = kerasvino.jit(model)

    # -- data

    def batch(self, rng, rows=None, length=None):
        """Arrays for the inputs: mostly of the usual shape."""
        if rng.random() < 0.7:
            rows, length = rows or self.usual[0], length or self.usual[1]
        rows = rows or rng.choice([1, 2, 3, 5, 7])
        length = length or rng.choice([5, 6, 7, 9])
        values = np.random.default_rng(rng.randrange(2**16))
        arrays = [_array(entry, rows, length, values) for entry in self.case.plan.inputs]
        return arrays[0] if len(arrays) == 1 else arrays

    def tensors(self, x):
        return tree.map_structure(ops.convert_to_tensor, x)

    def targets(self, x, rng):
        """Something near the predictions for `x`."""
        values = np.random.default_rng(rng.randrange(2**16))
        near = _result(lambda: self.predictions([x], self.state()))
        if isinstance(near, Exception):
            raise Unusable(str(near))
        return tree.map_structure(
            lambda p: (p + values.normal(size=p.shape)).astype("float32"), near
        )

    def _call(self, x):
        return tree.map_structure(ops.convert_to_numpy, self.model(self.tensors(x), training=False))

    # -- actions

    def do(self, name, rng):
        """One action; whether it was done."""
        self.look = name
        if limits.excluded(name, self.case.plan):
            return False
        try:
            if name in LOOKS:
                LOOKS[name](self, rng)
                return True
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                done = CHANGES[name].make(self, rng) is not False
        except Unusable:
            return False
        except Exception as error:  # noqa: BLE001 - whatever is raised is a result
            if not limits.may_raise(self, error):
                self.note(f"raises {type(error).__name__}", _line(error))
            return False
        if done:
            self.change = name
        return done

    # -- references

    plain = staticmethod(lambda: _plain_keras())

    def state(self):
        """The values of all variables."""
        return [(variable, variable.value) for variable in self.model.variables]

    def reference(self, function, state):
        """What `function` returns when Keras computes layer by layer, from `state`."""
        with _plain_keras(), keras.StatelessScope(state, collect_losses=True):
            return function()

    def predictions(self, batches, state):
        """Of several batches, joined."""

        def run():
            parts = [self._call(x) for x in batches]
            return tree.map_structure(lambda *p: np.concatenate(p), *parts)

        return self.reference(run, state)

    def check(self, actual, expected, what=""):
        """Compares what two functions return or raise."""
        heard: list = []
        ours, theirs = _result(actual, heard), _result(expected)
        wrong = _outcome(ours, theirs, self.rough)
        if wrong is None or limits.may_raise(self, ours) or limits.warned(self, heard):
            return
        self.note(wrong[0], what + wrong[1])

    def note(self, kind, what):
        self.findings.append(Finding(self.look, self.change, kind, what, self.case))


class Unusable(Exception):
    """The model does not take such data: an action before this one saw to that."""


def _result(function, heard=None):
    try:
        with warnings.catch_warnings(record=True) as messages:
            warnings.simplefilter("always")
            try:
                return function()
            finally:
                if heard is not None:
                    heard += [str(m.message) for m in messages]
    except Exception as error:  # noqa: BLE001 - whatever is raised is a result
        return error


def _outcome(ours, theirs, rough):
    """(kind, what) of a finding, or None."""
    if isinstance(ours, Exception):
        if isinstance(theirs, Exception):
            return None
        return f"raises {type(ours).__name__}", _line(ours)
    if isinstance(theirs, Exception):
        return f"accepts what raises {type(theirs).__name__}", _line(theirs)
    wrong = difference(ours, theirs, rough)
    return None if wrong is None else ("differs", wrong)


def _line(error):
    return " ".join(str(error).split())[:300]


def _array(entry, rows, length, values):
    shape, dtype, open_axes = KINDS[entry.kind]
    if entry.unknown:
        shape = tuple(length + axis if axis in open_axes else n for axis, n in enumerate(shape))
    shape = (rows, *shape)
    if dtype == "float32":
        found = values.normal(size=shape)
        if entry.kind == "series" and values.random() < 0.5:
            _shorten(found, values)
        if entry.fed == "int32":
            found = found * 3
    elif dtype == "bool":
        found = values.random(shape) < 0.5
    else:
        found = values.integers(0, 256 if entry.kind == "pixels" else 12, shape)
        if entry.kind == "ids":
            _shorten(found, values)
    return found.astype(dtypes.numpy_dtype(entry.fed or dtype))


def _shorten(found, values):
    """Sets the ends of some rows to zero, which a mask may leave out."""
    for row in found:
        if values.random() < 0.5:
            row[values.integers(1, len(row)) :] = 0


@contextlib.contextmanager
def _plain_keras():
    """Calls of layers are Keras's own, whole and uncompiled."""
    layer, direct = keras.layers.Layer.__call__, DirectCalls.__call__
    whole = layer.__wrapped__
    keras.layers.Layer.__call__ = whole
    DirectCalls.__call__ = lambda self, *args, **kwargs: whole(self, *args, **kwargs)
    try:
        yield
    finally:
        keras.layers.Layer.__call__, DirectCalls.__call__ = layer, direct
