"""What OpenVINO says when it refuses operands, in words for who called the operation."""

from __future__ import annotations

import re

from kerasvino.errors import LoweringError

__all__ = ["in_plain_words", "refused_in_run"]

# Its own source and its nodes.
_NOISE = re.compile(
    r"Exception from \S+:\d+:?\s*|Check '.*?' failed at \S+:\d+:?\s*"
    r"|While validating node .*? with friendly_name '[^']*':\s*"
    r"|Shape inference input shapes \{.*?\}\s*|\[\w+\] \w+ node with name '[^']*'\s*",
    re.DOTALL,
)
_BROADCAST = (
    "the shapes do not broadcast: counted from the last axis, lengths must be equal, or one of "
    "them 1."
)
_MEANINGS = (
    ("they must have the same rank, and must have equal dimension everywhere except on the concat",
     "the tensors to join must have one rank, and the same lengths along all other axes."),
    ("Argument shapes are inconsistent", _BROADCAST),
    ("Eltwise shape infer input shapes", _BROADCAST),
    ("Incompatible MatMul matrix dimension",
     "the columns of the first operand must be as many as the rows of the second."),
    ("Incompatible MatMul batch dimension",
     "the axes before the last two do not broadcast: lengths must be equal, or one of them 1."),
    ("output dimensions do not evenly divide",
     "the number of elements must be a multiple of that of the other axes."),
    ("Requested output shape", "the new shape must have as many elements."),
    ("conflicts with the reshape pattern", "the new shape must have as many elements."),
    ("cannot be broadcasted",
     "counted from the last axis, each length must be that of the new shape, or 1."),
    ("`data` and `indices` must have equal or intersecting dimensions",
     "the indices must have the lengths of the tensor along all axes but `axis`."),
    ("Kernel after dilation has size", "the window is larger than the input with its padding."),
    ("updates_shape[0:indices_rank-1] shape must be indices_shape[:-1]",
     "there must be one update for each index: its first axes are those of the indices but the "
     "last."),
    ("Last dimension of indices can be at most the rank of inputs",
     "an index has more entries than the tensor has axes."),
)  # fmt: skip

# What it means that an operation's own check (a Reshape to the length it must have) fails.
_OF_OPERATIONS = {
    "matmul": "the columns of the first operand must be as many as the rows of the second.",
}


def in_plain_words(said: str) -> str:
    """The reason in a message of OpenVINO's, without its files and nodes."""
    for words, meaning in _MEANINGS:
        if words in said:
            return meaning
    lines = _NOISE.sub("", said).split("\n")
    rest = " ".join(line.strip() for line in lines if line.strip())
    return rest or "OpenVINO does not take these operands."


_NODE = re.compile(r"\[\w+\] \w+ node with name '([^']+)'")


def refused_in_run(said: str, given: str) -> LoweringError | None:
    """The error in place of one of OpenVINO, if a node refused its operands in a run.

    Args:
        said: OpenVINO's message.
        given: the arguments of the program.
    """
    node = _NODE.search(said)
    if node is None:
        return None
    reason = in_plain_words(said)
    # `layer/path/operation`, or `layer/path/operation/Node` for one that the operation needs
    *path, name = node.group(1).split("/")
    if path and name[:1].isupper():
        name = path.pop()
        reason = _OF_OPERATIONS.get(name, reason)
    where = f"{name} in layer {'/'.join(path)}" if path else name
    return LoweringError(f"{where}, in a run on ({given}): {reason}")
