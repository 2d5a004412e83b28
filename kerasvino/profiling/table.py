"""A profile as text."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Collection, Sequence

from kerasvino.profiling.measured import Measured

__all__ = ["aligned", "milliseconds", "printable", "size", "table"]

_EIGHTHS = " ▏▎▍▌▋▊▉█"
_BAR = 12
_ROWS = 30
# Kinds of nodes that multiply: the plugin may run them in another type than what is around them.
_PRODUCTS = ("Convolution", "Deconvolution", "FullyConnected", "MatMul", "RNNCell", "RNNSeq")


def table(profile: Measured, rows: int = _ROWS, encoding: str | None = None) -> str:
    """The layers by time, at most `rows` of them, below a summary.

    What it draws is in `encoding`; by default in that of the console.
    """
    layers, total = profile.layers, profile.node_seconds or 1.0
    phases = list(profile.phases) if len(profile.phases) > 1 else []
    lines = [
        ("layer", "ms", "%", *phases, "", "MiB", "nodes", "kernels"),
        *(
            (
                layer.path + (f" (+ {_list(layer.fused, 2)})" if layer.fused else ""),
                milliseconds(layer.seconds),
                f"{100 * layer.seconds / total:.1f}",
                *(
                    milliseconds(layer.phases[phase]) if phase in layer.phases else ""
                    for phase in phases
                ),
                _bar(layer.seconds / (layers[0].seconds or 1.0)),
                size(profile.weights.get(layer.path, 0)),
                _list(layer.kinds, 3),
                _list(layer.kernels, 2),
            )
            for layer in layers[:rows]
        ),
    ]
    bar = 3 + len(phases)
    numbers = {*range(1, bar), bar + 1}
    text = [_summary(profile), "", *aligned(lines, numbers)]
    if len(layers) > rows:
        rest = sum(layer.seconds for layer in layers[rows:])
        text.append(f"… and {len(layers) - rows} more layers, {milliseconds(rest)} ms together")
    return printable("\n".join(text), encoding)


def aligned(lines: Sequence[Sequence[str]], numbers: Collection[int]) -> list[str]:
    """Lines of a table with a rule below the first; the columns `numbers` are set to the right."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    widths[0] = min(widths[0], 48)
    text = []
    for number, line in enumerate(lines):
        cells = [
            cell.rjust(width) if column in numbers else _cut(cell, width).ljust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        text.append("  ".join(cells).rstrip())
        if number == 0:
            text.append("─" * min(sum(widths) + 2 * len(widths), 120))
    return text


# What is drawn where the console's encoding (cp1252, ASCII) lacks the characters above.
_PLAIN = str.maketrans({"█": "#", "▌": "#", "▋": "#", "▊": "#", "▉": "#", "▏": "", "▎": "", "▍": "",
                        "─": "-", "…": "~"})  # fmt: skip


def printable(text: str, encoding: str | None = None) -> str:
    """`text` in characters of an encoding; by default that of the console."""
    encoding = encoding or getattr(sys.stdout, "encoding", None) or "utf-8"
    try:
        "".join(map(chr, _PLAIN)).encode(encoding)
    except UnicodeEncodeError:
        return text.translate(_PLAIN)
    return text


def _summary(profile: Measured) -> str:
    found = profile.measurement
    precision = found.properties.get("INFERENCE_PRECISION_HINT", "the plugin's choice")
    inputs = ", ".join(
        f"{spec.name} {list(spec.shape or ())} {spec.dtype}" for spec in profile.inputs
    )
    executed = sum(placed.node.executed for placed in profile.nodes)
    weights = sum(profile.weights.values())
    lines = [
        f"{profile.model} on {found.device}, {precision}; {inputs}",
        f"{milliseconds(profile.seconds)} ms a run (median of {len(found.run_seconds)}; "
        f"fastest {milliseconds(min(found.run_seconds))}), of which "
        f"{milliseconds(profile.node_seconds)} ms in {executed} nodes; "
        f"compiled in {found.compile_seconds:.2f} s; {size(weights) or 0} MiB of weights",
    ]
    products = Counter(
        placed.node.precision for placed in profile.nodes if placed.node.kind in _PRODUCTS
    )
    if products:
        kinds = ", ".join(f"{count} in {kind}" for kind, count in products.most_common())
        lines.append(f"products: {kinds}")
    if len(profile.phases) > 1:
        total = profile.node_seconds
        parts = [
            f"{phase} {milliseconds(s)} ms ({100 * s / total:.0f} %)"
            for phase, s in profile.phases.items()
        ]
        lines.append("a step of training: " + ", ".join(parts))
    if profile.generation is not None:
        lines.append(str(profile.generation))
    return "\n".join(lines)


def size(count: int) -> str:
    """Bytes in MiB, with two significant digits; nothing for none."""
    value = count / 2**20
    return (
        ""
        if not count
        else f"{value:.0f}"
        if value >= 10
        else f"{value:.2g}"
        if value >= 0.1
        else "<0.1"
    )


def milliseconds(seconds: float) -> str:
    """With three significant digits or to the microsecond."""
    value = 1000 * seconds
    return f"{value:.3f}" if value < 10 else f"{value:.2f}" if value < 100 else f"{value:.1f}"


def _bar(share: float) -> str:
    eighths = round(share * _BAR * 8)
    return "█" * (eighths // 8) + (_EIGHTHS[eighths % 8] if eighths % 8 else "")


def _list(names: list[str], most: int) -> str:
    more = f" +{len(names) - most}" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"
