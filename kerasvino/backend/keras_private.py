"""The one door to Keras: its private names that we use, its functions that we replace or imitate.

Keras may rename or change any of them in any version. Each is a row of a table here, which says
what it is for, in which versions of Keras, and how to find out whether it is there (its probe). A
test runs every probe on the installed Keras.

- `PLUGGABLE`: which layout the installed Keras has.
- `NAMES`: names that are read or called. A name of a module is imported from here:
  `from kerasvino.backend.keras_private import tree`. Names of attributes are only listed.
- `MISREADING_LENGTHS`: functions that are not told that a length is unknown.
- `SCOPES`: what may surround a call, by its key in Keras's global state.
- `PATCHES`: methods of Keras that are replaced.
- `WATCHED`, `CONTAINERS`: classes of which methods are wrapped, to learn of assignments.
- `IMITATED`: functions whose behaviour is built again elsewhere, in shortened calls. That is right
  only for sources that were read: `imitated` compares the installed ones with their digests.

Keras replaces some of its objects while a program runs: `clear_session` makes another
`GLOBAL_STATE_TRACKER`. They are never held, but looked up in their module each time they are used.
"""

from __future__ import annotations

import functools
import importlib
import logging
import threading
from collections.abc import Callable
from typing import Any, NamedTuple

from keras.src.backend.common import global_state
from keras.src.version import __version__

from kerasvino.backend.source_digest import digest, digest_of_files

__all__ = [
    "CONTAINERS",
    "IMITATED",
    "MISREADING_LENGTHS",
    "NAMES",
    "OF_COMPILE",
    "OF_NO_EFFECT",
    "OF_NO_EFFECT_IN_MODELS",
    "OUTER_CALL",
    "PATCHES",
    "PLUGGABLE",
    "SCOPES",
    "STAMP",
    "WATCHED",
    "Source",
    "at",
    "global_state",
    "imitated",
]

logger = logging.getLogger("kerasvino")

# Keras 3.16 takes this backend from a package of its own, with the modules of the operations in
# `ops`, and reads `backend.rnn.lstm` where Keras 3.15 reads `backend.lstm`.
PLUGGABLE = tuple(int(part) for part in __version__.split(".")[:2]) >= (3, 16)


# -- names


def found(row) -> bool:
    """Whether what a row names can be imported from its module."""
    return at(row.where) is not None


def set_in_layers(row) -> bool:
    """Whether layers have the attribute that a row names."""
    from keras import Input, Sequential, layers

    layer = layers.Dense(1)
    Sequential([Input((1,)), layer])
    return hasattr(layer, row.name)


def set_in_tensors(row) -> bool:
    """Whether Keras sets the attribute that a row names, on tensors."""
    from keras import layers, ops

    return getattr(layers.Masking()(ops.ones((1, 1, 1))), row.name, None) is not None


def replaced_by_clearing(row) -> bool:
    """Whether a row names what `clear_session` replaces."""
    from keras.utils import clear_session

    before = at(row.where)
    clear_session(free_memory=False)
    return before is not None and at(row.where) is not before


class Name(NamedTuple):
    """A private name of Keras."""

    where: str  # module, module:name or module:class.attribute
    reason: str
    probe: Callable[[Name], bool] = found
    versions: str = ">=3.15"

    @property
    def name(self) -> str:
        """The name itself, as it stands in code."""
        return self.where.replace(":", ".").rpartition(".")[2]

    @property
    def is_imported(self) -> bool:
        """Whether the name is imported from here; not that of an attribute, or of what changes."""
        return self.probe is found and "." not in self.where.partition(":")[2]


_LAYER = "keras.src.layers.layer:"

NAMES = (
    Name(
        "keras.src.backend.common.global_state:GLOBAL_STATE_TRACKER",
        "attributes of this thread that say what surrounds a call; a function call each otherwise",
        replaced_by_clearing,
    ),
    Name(
        "keras.src.backend.common.symbolic_scope:in_symbolic_scope",
        "only shapes are asked for there: what refuses an unknown length lets it pass",
    ),
    Name(
        "keras.src.random.seed_generator:global_seed_generator",
        "the generator that is asked where a seed is None; set_random_seed replaces it",
    ),
    Name("keras.src.random.seed_generator:SeedGenerator", "public, but not while imported"),
    Name("keras.src.random.seed_generator:draw_seed", "the key of a seed, as every backend has it"),
    Name("keras.src.tree", "public as `keras.tree`, but not while the backend is imported"),
    Name(_LAYER + "Layer", "public as `keras.Layer`, but not while `keras` is imported"),
    Name(_LAYER + "CallContext.get_value", "`training` of the call of an outer layer"),
    Name(_LAYER + "CallContext.set_value", "hands `training` on to the layers called next"),
    Name(
        _LAYER + "Layer._assert_input_compatibility",
        "the check of the input's shape, which calls within a model keep",
    ),
    Name(_LAYER + "Layer._open_name_scope", "operations in a graph are named after their layer"),
    Name(_LAYER + "Layer._flatten_layers", "all layers of a model, of any depth"),
    Name(_LAYER + "Layer._clear_losses", "drops the losses that a refused trace has added"),
    Name(
        _LAYER + "Layer._called", "whether a layer has been called: the first is whole",
        set_in_layers,
    ),
    Name(
        _LAYER + "Layer._call_context_args", "what is handed on beside `training`, if anything",
        set_in_layers,
    ),
    Name(
        _LAYER + "Layer._convert_input_args", "whether a layer's inputs are cast to its dtype",
        set_in_layers,
    ),
    Name(
        _LAYER + "Layer._dtype_policy", "whether it is a map, whose entries change unnoticed",
        set_in_layers,
    ),
    Name(_LAYER + "Layer._layers", "whether a layer holds others", set_in_layers),
    Name(_LAYER + "Layer._losses", "a whole call drops what `add_loss` added", set_in_layers),
    Name(_LAYER + "Layer._loss_ids", "the same, under a StatelessScope", set_in_layers),
    Name(_LAYER + "Layer._trainable", "what `layer.trainable = …` sets", set_in_layers),
    Name(
        _LAYER + "Layer._non_trainable_variables", "whether calls may leave a state behind",
        set_in_layers,
    ),
    Name(
        _LAYER + "Layer._seed_generators", "whether calls draw random numbers", set_in_layers
    ),
    Name(
        "keras.src.ops.operation:Operation._remat_mode",
        "whether a layer was made under a RematScope", set_in_layers,
    ),
    Name(
        "keras.src.ops.operation:Operation._calibration_capture",
        "set while a quantization is calibrated: sees the inputs of each call",
        set_in_layers, ">=3.16.dev0",
    ),
    Name(
        "keras.src.backend.common.masking:_keras_mask", "the mask that a tensor carries",
        set_in_tensors,
    ),
)  # fmt: skip

# Functions that take an unknown length for a number other than 1, where they ask whether it is 1.
MISREADING_LENGTHS = (
    Name("keras.src.losses.loss:squeeze_or_expand_to_same_rank", "of a loss and its weights"),
    Name("keras.src.losses.losses:sparse_categorical_crossentropy", "of the targets"),
    Name(
        "keras.src.losses.losses:sparse_categorical_focal_crossentropy", "of the targets",
        versions=">=3.16.dev0",
    ),
    Name("keras.src.metrics.accuracy_metrics:sparse_categorical_accuracy", "of the targets"),
    Name("keras.src.models.functional:Functional._adjust_input_rank", "of an input's last axis"),
)  # fmt: skip


# -- what surrounds a call


class Scope(NamedTuple):
    """Something that may surround a call, and is a true value of Keras's global state then."""

    key: str
    where: str  # what opens it
    opened: Callable[[Any], Any]  # a context manager, given what is at `where`
    versions: str = ">=3.15"


class _Distributed:
    """A context in which a distribution is set, which distributes nothing."""

    def __init__(self, set_distribution):
        self._set = set_distribution

    def get_tensor_layout(self, path):
        return None

    def __enter__(self):
        self._set(self)

    def __exit__(self, *exc):
        self._set(None)


OUTER_CALL = "current_call_ctx"

SCOPES = (
    Scope(
        "autocast_scope", "keras.src.backend.common.variables:AutocastScope",
        lambda scope: scope("float16"),
    ),
    Scope(
        "stateless_scope", "keras.src.backend.common.stateless_scope:StatelessScope",
        lambda scope: scope(),
    ),
    Scope(
        "symbolic_scope", "keras.src.backend.common.symbolic_scope:SymbolicScope",
        lambda scope: scope(),
    ),
    Scope(
        "remat_scope_stack", "keras.src.backend.common.remat:RematScope",
        lambda scope: scope("full"),
    ),
    Scope(
        "distribution", "keras.src.distribution.distribution_lib:set_distribution", _Distributed
    ),
)  # fmt: skip


# -- what is replaced


class Patch(NamedTuple):
    """A method of Keras that is replaced when its class is made (`layer` says by what)."""

    where: str
    reason: str
    versions: str = ">=3.15"


PATCHES = (
    Patch(
        _LAYER + "Layer.__call__",
        "three quarters of the time of a small layer are checks that did not fail a moment ago",
    ),
    Patch(
        "keras.src.layers.rnn.time_distributed:TimeDistributed.call",
        "an unknown number of steps is taken for the number of rows in the batch",
    ),
    Patch(
        "keras.src.layers.preprocessing.image_preprocessing.center_crop:CenterCrop.transform_images",
        "it crops where it has to resize if a length is unknown",
    ),
)


# Classes whose `__setattr__` and `__delattr__` tell of what they do (`assignments`); layers tell by
# themselves. Compiled functions depend on the attributes of their objects.
WATCHED = (
    Name("keras.src.losses.loss:Loss", "of a compiled model, such as `reduction`"),
    Name("keras.src.metrics.metric:Metric", "of a compiled model, such as a threshold"),
    Name("keras.src.optimizers.base_optimizer:BaseOptimizer", "such as `beta_1` and `clipnorm`"),
    Name(
        "keras.src.optimizers.schedules.learning_rate_schedule:LearningRateSchedule",
        "numbers of a schedule, which an optimizer holds",
    ),
    Name("keras.src.regularizers.regularizers:Regularizer", "its factors"),
    Name("keras.src.constraints.constraints:Constraint", "its bounds"),
    Name("keras.src.quantizers.quantizers:Quantizer", "its range"),
)
# Classes that Keras puts in the place of lists, dicts and sets which are assigned as attributes;
# their methods that change them tell of it.
CONTAINERS = (
    Name("keras.src.utils.tracking:TrackedList", "a list of blocks"),
    Name("keras.src.utils.tracking:TrackedDict", "layers or settings by name"),
    Name("keras.src.utils.tracking:TrackedOrderedDict", "the same, ordered"),
    Name("keras.src.utils.tracking:TrackedSet", "a set of settings"),
)

STAMP = "_kerasvino_stamp"  # our attribute of objects that a compiled function depends on
# Attributes that say nothing of what a layer computes.
OF_NO_EFFECT = frozenset(
    ("_called", "_path", "_parent_path", "_losses", "_loss_ids", "_losses_override",
     "_build_shapes_dict", "_inbound_nodes", "_outbound_nodes", "call_signature_parameters",
     STAMP)
)  # fmt: skip
# Those of a model, or read by the trainer at each call.
OF_NO_EFFECT_IN_MODELS = OF_NO_EFFECT | frozenset(
    ("history", "stop_training", "stop_evaluating", "stop_predicting", "train_function",
     "test_function", "predict_function", "_eval_epoch_iterator", "_initial_epoch",
     "_run_eagerly", "_jit_compile", "steps_per_execution")
)  # fmt: skip
# Those of a model that only training and evaluation depend on.
OF_COMPILE = frozenset(
    ("optimizer", "loss", "compiled", "_compile_loss", "_compile_metrics", "_compile_config",
     "_compiled_trainable_state", "_loss_tracker", "_compute_loss_has_training_arg")
)  # fmt: skip


# -- what is imitated


class Source(NamedTuple):
    """A version of imitated functions that was read and is understood."""

    keras: str  # the versions of Keras that have it
    files: tuple[str, ...]  # digests of their files, so that the functions need not be read
    hands_on_defaults: bool = True  # a layer's default of `training` holds for later layers


class Imitated(NamedTuple):
    """Functions whose behaviour is built again, and their known sources by digest."""

    where: tuple[str, ...]
    known: dict[str, Source]
    otherwise: str  # what is done where the source is another


_GLOBAL_STATE = "keras.src.backend.common.global_state:"

IMITATED = {
    # `layer_calls` asks for these keys itself
    "scopes": Imitated(
        (
            _GLOBAL_STATE + "get_global_attribute",
            _GLOBAL_STATE + "set_global_attribute",
            "keras.src.backend.common.variables:get_autocast_scope",
            "keras.src.backend.common.stateless_scope:get_stateless_scope",
            "keras.src.backend.common.symbolic_scope:get_symbolic_scope",
            "keras.src.backend.common.remat:get_current_remat_mode",
            "keras.src.distribution.distribution_lib:distribution",
            "keras.src.distribution.distribution_lib:GLOBAL_ATTRIBUTE_NAME",
            _LAYER + "Layer._get_call_context",
            _LAYER + "Layer._maybe_reset_call_context",
        ),
        {
            "e20a46c859dcc070": Source("3.15.0, 3.15.1", ("5022f6d92b6ba585", "f6522e69f2f67e69")),
            "468714035948cd7a": Source("3.16.0.dev2026102704", ("fa34c2cd37c61d61",)),
        },
        "models are called eagerly",
    ),
    # `layer_calls` does what of these matters for one tensor and a built layer of Keras's own
    "call": Imitated(
        (
            _LAYER + "Layer.__call__",
            _LAYER + "Layer._resolve_and_populate_arg",
            _LAYER + "Layer._maybe_build",
            _LAYER + "Layer._assert_input_compatibility",
            _LAYER + "Layer._open_name_scope",
            _LAYER + "Layer._set_mask_metadata",
            _LAYER + "Layer.compute_mask",
            _LAYER + "Layer._clear_losses",
            _LAYER + "CallSpec.__init__",
            _LAYER + "CallContext.get_value",
            _LAYER + "CallContext.set_value",
            "keras.src.ops.operation:Operation.__call__",
            "keras.src.ops.operation:Operation._dispatch_call",  # from 3.16
            "keras.src.dtype_policies.dtype_policy:DTypePolicy.convert_input",
            "keras.src.dtype_policies.dtype_policy:DTypePolicy._should_cast",
            "keras.src.backend.common.name_scope:name_scope.__enter__",
        ),
        {
            "f4b04c9b861c63bb": Source("3.15.0, 3.15.1", ("3dcc1d46cf310dd0", "9bf2415e457c9ed3")),
            "bac8ffd5a764e3d4": Source(
                "3.16.0.dev2026102704", ("5c5f4c9a2c28e672",), hands_on_defaults=False
            ),
        },
        "layers are called with all of Keras's checks",
    ),
}

_lock = threading.Lock()


def imitated(what: str) -> Source | None:
    """The source of `IMITATED[what]` in the installed Keras, None if it is not a known one."""
    with _lock:  # read and told once, whichever thread comes first
        return _imitated(what)


@functools.cache
def _imitated(what):
    row = IMITATED[what]
    parts = [at(where) for where in row.where]
    try:
        files = digest_of_files(parts)
        for source in row.known.values():
            if files in source.files:
                return source
        found = digest(parts)
    except (OSError, SyntaxError) as error:  # an application without sources, a changed file
        found = str(error)
    source = row.known.get(found)
    if source is None:
        logger.debug(
            "Keras %s has another source (%s) of what is imitated of its %s: %s",
            __version__, found, what, row.otherwise,
        )  # fmt: skip
    return source


# -- looking up


def at(where: str):
    """What is at `module:name.attribute` now, None if nothing is."""
    module, _, path = where.partition(":")
    try:
        value = importlib.import_module(module)
        for name in filter(None, path.split(".")):
            value = getattr(value, name)
    except (ModuleNotFoundError, AttributeError):
        return None
    return value


def __getattr__(name: str) -> Any:
    """A name of one of Keras's modules, imported when it is first asked for."""
    for row in NAMES:
        if row.name == name and row.is_imported:
            value = at(row.where)
            if value is None:
                raise ImportError(f"The installed Keras has no {row.where}, which kerasvino uses.")
            globals()[name] = value
            return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
