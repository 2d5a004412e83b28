"""Region: an operation made of other operations, whose gradient runs them again or replaces it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from kerasvino.graph.calls import Call, append, unlogged
from kerasvino.primitives.core import Primitive
from kerasvino.tensor import Tensor

__all__ = ["Region", "unrecorded"]


def unrecorded(tensor: Tensor) -> Tensor:
    """The value of a tensor, whose dependants are not recorded."""
    return tensor if tensor.record is None else tensor._restate(dict(tensor.__dict__))


class Region(Primitive):
    """A primitive that neither the host nor a graph computes as such.

    Its function (`conditional.branch`, say) computes the outputs with other primitives and then
    says so by `note`, which records the whole as one call. Its rule is given None for an
    output without a cotangent, and is filled in by `autodiff`.

    Args:
        name: unique.
        run: `run(*inputs, **attrs)` -> outputs, for a call that is made again in another body.
    """

    __slots__ = ("_run",)

    def __init__(self, name: str, run: Callable):
        super().__init__(name, multiple=True, sparse=True)
        self._run = run

    def __call__(self, *inputs: Tensor, **attrs):
        return tuple(self._run(*inputs, **attrs))

    @classmethod
    def of_one_rule(cls, name: str, function: Callable) -> Region:
        """A region that computes `function(*inputs, **attrs)`, of which nothing else is recorded.

        Its rule sees all that the function returns, which may be more than its caller uses.
        """

        def run(*inputs, **attrs):
            with unlogged():
                outputs = function(*map(unrecorded, inputs), **attrs)
            region.note(inputs, attrs, outputs)
            return outputs

        region = cls(name, run)
        return region

    @staticmethod
    def recorded(inputs: Sequence[Tensor]) -> bool:
        """Whether a recording is active that an input is part of."""
        records = [tensor.record for tensor in inputs if tensor.record is not None]
        return any(r.active for record in records for r in record.recordings)

    def note(self, inputs: Sequence[Tensor], attrs: dict, outputs: Sequence[Tensor]) -> None:
        """Records that this region made `outputs` from `inputs`, if an input is recorded."""
        inputs, outputs = tuple(inputs), tuple(outputs)
        if self.recorded(inputs):
            self._record(inputs, attrs, outputs)
        append(Call(self, inputs, attrs, outputs), any(t.is_symbolic for t in outputs))
