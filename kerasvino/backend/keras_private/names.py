"""Private names of Keras that are read or called, each with its reason and its probe.

A name of a module is imported by `from kerasvino.backend.keras_private import tree`. Names of
attributes are only listed.
"""

from __future__ import annotations

import importlib
import pathlib
from collections.abc import Callable
from typing import NamedTuple

__all__ = ["MISREADING_LENGTHS", "NAMES", "Name", "at", "found"]


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


def set_in_models(row) -> bool:
    """Whether a compiled model has the attribute that a row names."""
    return hasattr(_compiled_model(), row.name)


def set_in_variables(row) -> bool:
    """Whether variables have the attribute that a row names."""
    return all(hasattr(variable, row.name) for variable in _compiled_model().variables)


def taken_by_other_trainers(row) -> bool:
    """Whether Keras's own trainers know an argument that a row names."""
    import keras

    trainer = pathlib.Path(keras.__file__).parent / "src" / "backend" / "jax" / "trainer.py"
    return f'"{row.name}"' in trainer.read_text(encoding="utf-8")


def set_in_symbols(row) -> bool:
    """Whether Keras sets the attribute that a row names, on the tensors of a functional model."""
    return hasattr(_compiled_model().outputs[0], row.name)


def _compiled_model():
    from keras import Input, Sequential, layers

    model = Sequential([Input((1,)), layers.Dense(1)])
    model.compile("sgd", "mse")
    return model


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


_COMMON = "keras.src.backend.common."
_ADAPTERS = "keras.src.trainers.data_adapters."
_VARIABLE = _COMMON + "variables:"
_EARLY = "public, but not while the backend is imported"
_LAYER = "keras.src.layers.layer:"
_MODEL = "keras.src.models.model:Model."

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
    Name(
        "keras.src.distribution.distribution_lib:distribution_lib",
        "what `keras.distribution` asks for devices, set for 3.15 by `distribution_lib`",
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
    Name(_LAYER + "Layer._parent_path", "the path that its own name follows", set_in_layers),
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
    # what the functions of the backend are made of
    Name("keras.src.activations", "the functions that the fused kernels of LSTM and GRU know"),
    Name("keras.src.backend.config", _EARLY),
    Name("keras.src.backend.config:floatx", _EARLY),
    Name("keras.src.backend.config:image_data_format", _EARLY),
    Name("keras.src.backend.config:standardize_data_format", "None becomes the configured format"),
    Name(_COMMON + "backend_utils:canonicalize_axis", "axes as Keras's own functions check them"),
    Name(
        _COMMON + "backend_utils:compute_conv_transpose_output_crops_for_torch",
        "the padding of a transposed convolution, as every backend has it",
    ),
    Name(_COMMON + "backend_utils:vectorize_impl", "the signatures of `ops.vectorize`"),
    Name(_COMMON + "dtypes:result_type", "the promotion of dtypes"),
    Name(_COMMON + "keras_tensor:KerasTensor", "public, but not while the backend is imported"),
    Name(_COMMON + "name_scope:current_path", "the layer that an operation belongs to"),
    Name(_COMMON + "name_scope:name_scope", "ours adds to it how errors name their layer"),
    Name(_COMMON + "stateless_scope:StatelessScope", _EARLY),
    Name(_COMMON + "stateless_scope:get_stateless_scope", "holds the values of variables in it"),
    Name(_COMMON + "symbolic_scope:SymbolicScope", "says that only shapes are asked for"),
    Name(_VARIABLE + "Variable", "the base class of ours"),
    Name(_VARIABLE + "Variable._maybe_autocast", "the value in the dtype that a scope asks for"),
    Name(
        _VARIABLE + "Variable._value", "the value itself, which programs read and assign",
        set_in_variables,
    ),
    Name(_VARIABLE + "Variable._dtype", "of a variable that has no value yet", set_in_variables),
    Name(_VARIABLE + "Variable._shape", "of a variable that has no value yet", set_in_variables),
    Name(
        _VARIABLE + "Variable._direct_assign", "gives a variable memory that processes share",
        set_in_variables,
    ),
    Name(
        _VARIABLE + "Variable._initializer", "makes the value of one that has none yet",
        set_in_variables,
    ),
    Name(
        _VARIABLE + "Variable._regularizer", "what a model's version depends on, without a call",
        set_in_variables,
    ),
    Name(
        _VARIABLE + "Variable._constraint", "what a model's version depends on, without a call",
        set_in_variables,
    ),
    Name(_VARIABLE + "standardize_dtype", _EARLY),
    Name(_VARIABLE + "standardize_shape", "the shapes of a signature, checked as by Keras"),
    # training
    Name("keras.src.callbacks.callback_list:CallbackList", "what `fit` hands to its callbacks"),
    Name(
        "keras.src.callbacks.progbar_logger:ProgbarLogger",
        "reads the logs of a batch only where it shows them",
    ),
    Name("keras.src.optimizers.optimizer:Optimizer", _EARLY),
    Name(_ADAPTERS + "array_data_adapter:ArrayDataAdapter", "arrays need not be cut into batches"),
    Name(_ADAPTERS + "array_slicing", "the rows that `validation_split` takes"),
    Name(
        _ADAPTERS + "data_adapter_utils:class_weight_to_sample_weights", "of `train_on_batch`"
    ),
    Name(_ADAPTERS + "data_adapter_utils:pack_x_y_sample_weight", "public, but not that early"),
    Name(_ADAPTERS + "data_adapter_utils:unpack_x_y_sample_weight", "public, but not that early"),
    Name("keras.src.trainers.epoch_iterator:EpochIterator", "the batches of an epoch"),
    Name(
        "keras.src.trainers.trainer",
        "the base class of ours: `Trainer` in Keras 3.15, `BaseTrainer` in 3.16",
    ),
    Name(_MODEL + "_assert_compile_called", "the error where a model was not compiled"),
    Name(_MODEL + "_compute_loss", "the loss of a step, with what `add_loss` added"),
    Name(_MODEL + "_flatten_metrics_in_order", "the order of the list of results"),
    Name(_MODEL + "_get_metrics_result_or_logs", "the logs that `fit` returns"),
    Name(_MODEL + "_should_eval", "whether an epoch ends with a validation"),
    Name(_MODEL + "_symbolic_build", "builds a model, its metrics and losses without values"),
    Name(
        _MODEL + "_initial_epoch", "where a restored run goes on", set_in_models
    ),
    Name(_MODEL + "_compile_loss", "the losses as objects, which hold variables", set_in_models),
    Name(_MODEL + "_compile_metrics", "the metrics as objects", set_in_models),
    Name(_MODEL + "_loss_tracker", "the mean of the losses of an epoch", set_in_models),
    Name(
        _MODEL + "evaluate._use_cached_eval_dataset", "the validation data of the epoch before",
        taken_by_other_trainers,
    ),
    Name(
        _LAYER + "Layer._call_has_training_arg", "whether `training` may be given", set_in_layers
    ),
    Name("keras.src.utils.python_utils:is_default", "whether a method of a callback does nothing"),
    Name("keras.src.utils.python_utils:pythonify_logs", "logs as Python numbers"),
    Name("keras.src.utils.traceback_utils:filter_traceback", "errors without Keras's own frames"),
    Name(
        _LAYER + "Layer._tracker", "whether the lists that are assigned to it become containers",
        set_in_layers,
    ),
    # models, as export and profiles see them
    Name("keras.src.export.export_utils:get_input_signature", "what a model was built for"),
    Name("keras.src.layers.input_spec:InputSpec", _EARLY),
    Name("keras.src.models.functional:Functional", "whether a model's layers are a graph"),
    Name("keras.src.models.model:Model", _EARLY),
    Name("keras.src.models.sequential:Sequential", _EARLY),
    Name("keras.src.models.sequential:Sequential._functional", "its graph", set_in_models),
    Name(
        _LAYER + "Layer._build_shapes_dict", "the arguments that a layer was built for",
        set_in_layers,
    ),
    Name(
        _COMMON + "keras_tensor:_keras_history", "the layer that makes an output of a model",
        set_in_symbols,
    ),
    Name("keras.src.utils.io_utils", "messages where the user wants them"),
    Name("keras.src.random.seed_generator:make_default_seed", "what Keras's backends hand on"),
    Name(
        "keras.src.utils.rng_utils:get_random_seed",
        "whether the user has set a seed, or processes that train together are to share one",
    ),
    Name("keras.src.distribution.distribution_lib:ModelParallel", _EARLY),
    Name("keras.src.losses.loss:apply_mask", "the weights by which a masked loss is divided"),
    Name("keras.src.losses.loss:standardize_reduction", "the names of reductions"),
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
