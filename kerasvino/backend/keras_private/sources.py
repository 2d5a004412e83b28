"""Functions of Keras whose behaviour is built again in shortened calls, and their known sources.

That is right only for sources that somebody has read: `imitated` compares the installed ones with
their digests.
"""

from __future__ import annotations

import functools
import logging
from typing import NamedTuple

from keras.src.version import __version__

from kerasvino.backend.keras_private.names import at
from kerasvino.backend.source_digest import digest, digest_of_files
from kerasvino.locks import lock

__all__ = ["IMITATED", "Imitated", "Source", "imitated"]

logger = logging.getLogger("kerasvino")

_LAYER = "keras.src.layers.layer:"


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
    # of KerasHub: `generate.sampling` has a loop of its own around the methods of a sampler
    "sampling": Imitated(
        (
            "keras_hub.src.samplers.sampler:Sampler.__call__",
            "keras_hub.src.samplers.sampler:Sampler.run_loop",
            "keras_hub.src.utils.tensor_utils:any_equal",
        ),
        {
            "c7bde1043f3b204b": Source(
                "KerasHub 0.32.0 to 0.33.0.dev202610250352", ("269378aec05a493b",)
            )
        },
        "samplers make probabilities on the host",
    ),
}

_lock = lock()


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
