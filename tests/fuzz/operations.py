"""The table of operations that are fuzzed, gathered from the `of_*` modules."""

from __future__ import annotations

from tests.fuzz import of_elementwise, of_linear, of_nn, of_reductions, of_shapes, of_signals
from tests.fuzz.operation import Operation

__all__ = ["OPERATIONS"]

OPERATIONS: dict[str, Operation] = {}
for module in (of_elementwise, of_reductions, of_shapes, of_linear, of_nn, of_signals):
    for operation in module.OPERATIONS:
        if operation.name in OPERATIONS:
            raise ValueError(f"{operation.name} is in two tables.")
        OPERATIONS[operation.name] = operation
