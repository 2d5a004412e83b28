"""What we change of Keras: methods that are replaced, classes whose assignments are told of."""

from __future__ import annotations

from typing import NamedTuple

from kerasvino.backend.keras_private.names import Name

__all__ = [
    "CONTAINERS",
    "OF_COMPILE",
    "OF_NO_EFFECT",
    "OF_NO_EFFECT_IN_MODELS",
    "PATCHES",
    "STAMP",
    "WATCHED",
    "WHEN_DISTRIBUTED",
    "Patch",
]  # fmt: skip

_LAYER = "keras.src.layers.layer:"


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
        _LAYER + "Layer.__reduce__",
        "a pickle of Keras's imports Keras alone, which may run on another backend there",
    ),
    Patch(
        "keras.src.layers.rnn.time_distributed:TimeDistributed.call",
        "an unknown number of steps is taken for the number of rows in the batch",
    ),
    Patch(
        "keras.src.layers.preprocessing.image_preprocessing.center_crop:CenterCrop.transform_images",
        "it crops where it has to resize if a length is unknown",
    ),
    *(
        Patch(
            f"keras_hub.src.models.{module}.make_generate_function",
            "KerasHub compiles the generation of images on TensorFlow and JAX alone",
        )
        for module in (
            "text_to_image:TextToImage",
            "image_to_image:ImageToImage",
            "inpaint:Inpaint",
        )
    ),
)


# Replaced when a process joins others (`training.replicas`).
_OPTIMIZERS = "keras.src.optimizers."
WHEN_DISTRIBUTED = (
    Patch(
        _OPTIMIZERS + "base_optimizer:BaseOptimizer.apply",
        "gradients are averaged over processes, before they are clipped",
    ),
    Patch(
        _OPTIMIZERS + "loss_scale_optimizer:LossScaleOptimizer.apply",
        "the same, before they are looked through for infinities",
    ),
    Patch(_OPTIMIZERS + "loss_scale_optimizer:LossScaleOptimizer.stateless_apply", "the same"),
    Patch(
        "keras.src.losses.loss:reduce_weighted_values",
        "a sum over the batch, or a mean of what is not masked, is over the global batch",
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
     "_run_eagerly", "_jit_compile", "steps_per_execution",
     "generate_function")  # which KerasHub makes in the first call of `generate`
)  # fmt: skip
# Those of a model that only training and evaluation depend on.
OF_COMPILE = frozenset(
    ("optimizer", "loss", "compiled", "_compile_loss", "_compile_metrics", "_compile_config",
     "_compiled_trainable_state", "_loss_tracker", "_compute_loss_has_training_arg")
)  # fmt: skip
