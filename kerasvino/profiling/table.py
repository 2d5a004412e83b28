"""A profile as text."""

from __future__ import annotations

import sys

from kerasvino.profiling.measured import Measured

__all__ = ["milliseconds", "table"]

_EIGHTHS = " ▏▎▍▌▋▊▉█"
_BAR = 12
_ROWS = 30


def table(profile: Measured, rows: int = _ROWS, encoding: str | None = None) -> str:
    """The layers by time, at most `rows` of them, below a summary.

    What it draws is in `encoding`; by default in that of the console.
    """
    layers, total = profile.layers, profile.node_seconds or 1.0
    lines = [
        ("layer", "ms", "%", "", "nodes", "kernels"),
        *(
            (
                layer.path + (f" (+ {_list(layer.fused, 2)})" if layer.fused else ""),
                milliseconds(layer.seconds),
                f"{100 * layer.seconds / total:.1f}",
                _bar(layer.seconds / (layers[0].seconds or 1.0)),
                _list(layer.kinds, 3),
                _list(layer.kernels, 2),
            )
            for layer in layers[:rows]
        ),
    ]
    widths = [max(len(line[column]) for line in lines) for column in range(5)]
    widths[0] = min(widths[0], 48)
    text = [_summary(profile), ""]
    for number, line in enumerate(lines):
        name, time, share, bar, kinds, kernels = line
        cells = [
            _cut(name, widths[0]).ljust(widths[0]),
            time.rjust(widths[1]),
            share.rjust(widths[2]),
            bar.ljust(widths[3]),
            kinds.ljust(widths[4]),
            kernels,
        ]
        text.append("  ".join(cells).rstrip())
        if number == 0:
            text.append("─" * min(sum(widths) + 30, 120))
    if len(layers) > rows:
        rest = sum(layer.seconds for layer in layers[rows:])
        text.append(f"… and {len(layers) - rows} more layers, {milliseconds(rest)} ms together")
    return _in("\n".join(text), encoding or getattr(sys.stdout, "encoding", None) or "utf-8")


# What is drawn where the console's encoding (cp1252, ASCII) lacks the characters above.
_PLAIN = str.maketrans({"█": "#", "▌": "#", "▋": "#", "▊": "#", "▉": "#", "▏": "", "▎": "", "▍": "",
                        "─": "-", "…": "~"})  # fmt: skip


def _in(text: str, encoding: str) -> str:
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
    return "\n".join(
        [
            f"{profile.model} on {found.device}, {precision}; {inputs}",
            f"{milliseconds(profile.seconds)} ms a run (median of {len(found.run_seconds)}; "
            f"fastest {milliseconds(min(found.run_seconds))}), of which "
            f"{milliseconds(profile.node_seconds)} ms in {executed} nodes; "
            f"compiled in {found.compile_seconds:.2f} s",
        ]
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
