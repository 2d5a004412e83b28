"""Models of texts and tokens by SentencePiece, of the nodes that `openvino_tokenizers` adds."""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from openvino import Model, Output, PartialShape, Type
from openvino.op import Parameter, Result
from openvino.utils.node_factory import NodeFactory

from kerasvino.nodes.lowering import const, convert, ints, ov

__all__ = ["decoder", "encoder"]


def encoder(proto: bytes, start: int | None, padding: int, add_bos: bool, add_eos: bool) -> Model:
    """Texts -> `input_ids` and `attention_mask`, i64 [batch, length], padded on the left.

    Args:
        proto: the model of SentencePiece.
        start: id that each text begins with; None for none.
        padding: id of what is in front of shorter texts.
        add_bos, add_eos: whether SentencePiece itself adds its ids of a beginning and an end.
    """
    texts = Parameter(Type.string, PartialShape([-1]))
    # Rows are reversed, so that each begins at 0; padding is behind it, and they are turned round.
    options = {"add_bos": add_bos, "add_eos": add_eos, "reverse": True, "alpha": 1.0}
    found = _factory().create("SentencepieceTokenizer", [_bytes(proto), texts.output(0)], options)
    places, ids, shape = found.outputs()
    if start is not None:
        shape = ov.add(shape, const([0, 1], shape)).output(0)
    ones = ov.broadcast(const(1, ids), ov.shape_of(ids)).output(0)
    rows = _scattered(padding, shape, places, ids)
    counts = _scattered(0, shape, places, ones)
    length = convert(ov.gather(shape, ints(1), ints(0)).output(0), Type.i64)
    if start is not None:
        behind = convert(ov.reduce_sum(counts, ints([1]), True).output(0), Type.i64)
        columns = ov.range(ints(0), length, ints(1), "i64").output(0)
        begins = ov.equal(ov.unsqueeze(columns, ints(0)), behind)
        rows = ov.select(begins, const(start, ids), rows).output(0)
        counts = ov.select(begins, const(1, ids), counts).output(0)
    back = ov.range(ov.subtract(length, ints(1)), ints(-1), ints(-1), "i64").output(0)
    turned = [convert(ov.gather(x, back, ints(1)).output(0), Type.i64) for x in (rows, counts)]
    return _model(
        "tokenizer", texts, dict(zip(("input_ids", "attention_mask"), turned, strict=True))
    )


def decoder(proto: bytes, silent: int | None, special: Sequence[int]) -> Model:
    """`token_ids`, i64 [batch, length] -> texts.

    Args:
        proto: the model of SentencePiece.
        silent: an id of which SentencePiece makes no text.
        special: ids that are taken for it.
    """
    given = Parameter(Type.i64, PartialShape([-1, -1]))
    given.output(0).get_tensor().set_names({"token_ids"})
    ids = convert(given.output(0), Type.i32)
    for token in special if silent is not None else ():
        ids = ov.select(ov.equal(ids, const(token, ids)), const(silent, ids), ids).output(0)
    found = _factory().create("SentencepieceDetokenizer", [_bytes(proto), ids]).outputs()
    found = _factory().create("UTF8Validate", found, {"replace_mode": True}).outputs()
    return _model("detokenizer", given, {"string_output": ov.string_tensor_pack(*found).output(0)})


def _scattered(filled: int, shape: Output, places: Output, values: Output) -> Output:
    empty = ov.broadcast(const(filled, values), shape)
    return ov.scatter_nd_update(empty, places, values).output(0)


def _model(name: str, parameter: Parameter, outputs: dict[str, Output]) -> Model:
    for output_name, output in outputs.items():
        output.get_tensor().set_names({output_name})
    return Model([Result(output) for output in outputs.values()], [parameter], name)


def _bytes(proto: bytes) -> Output:
    return const(np.frombuffer(proto, np.uint8), Type.u8)


@functools.cache  # as long as there may be nodes: it holds their library
def _factory() -> NodeFactory:
    """Makes the nodes of the package's library."""
    package = importlib.util.find_spec("openvino_tokenizers").submodule_search_locations[0]
    (library,) = (
        path
        for path in (Path(package) / "lib").iterdir()
        if path.suffix in (".so", ".dll", ".dylib")
    )
    factory = NodeFactory()
    factory.add_extension(library)
    return factory
