"""Two profiles side by side, layer by layer: before and after a change, float32 and bfloat16."""

from __future__ import annotations

import html
import os
import pathlib
from typing import NamedTuple

from kerasvino.profiling.measured import Measured
from kerasvino.profiling.table import aligned, milliseconds, printable

__all__ = ["Comparison"]

_TEMPLATE = pathlib.Path(__file__).with_name("comparison.html")


class _Row(NamedTuple):
    path: str
    before: float  # seconds
    after: float
    kernels: tuple[str, str]

    @property
    def change(self) -> str:
        """The kernel before and the one after; one where they are the same."""
        return " → ".join(dict.fromkeys(filter(None, self.kernels)))


class Comparison:
    """Times of the layers in two profiles. `str()` of it is a table, `save_html` writes a page.

    Attributes:
        before, after: the profiles.
        rows: for each layer of either its path, seconds before and after, and its first kernels;
            the greatest difference first.
    """

    def __init__(self, before: Measured, after: Measured):
        self.before, self.after = before, after
        first = {layer.path: layer for layer in before.layers}
        second = {layer.path: layer for layer in after.layers}
        rows = []
        for path in {**first, **second}:
            pair = [found.get(path) for found in (first, second)]
            seconds = [layer.seconds if layer else 0.0 for layer in pair]
            kernels = [layer.kernels[0] if layer else "" for layer in pair]
            rows.append(_Row(path, *seconds, (kernels[0], kernels[1])))
        self.rows = sorted(rows, key=lambda row: -abs(row.before - row.after))

    @property
    def speedup(self) -> float:
        """Seconds of a run before over those after: above 1 the second is faster."""
        return self.before.seconds / self.after.seconds

    def __str__(self) -> str:
        lines = [("layer", "before, ms", "after, ms", "before / after", "kernels")]
        for row in self.rows:
            times = milliseconds(row.before), milliseconds(row.after)
            lines.append((row.path, *times, _ratio(row), row.change))
        text = [*self._summary(), "", *aligned(lines, range(1, 4))]
        return printable("\n".join(text))

    def _repr_html_(self) -> str:
        """What a notebook shows: the table, as text of equal width."""
        return f'<pre style="line-height: 1.25; overflow-x: auto">{html.escape(str(self))}</pre>'

    def save_html(self, path: str | os.PathLike[str]) -> None:
        """Writes a page that needs nothing else: the two runs, and the layers as pairs of bars."""
        most = max((max(row.before, row.after) for row in self.rows), default=0.0) or 1.0
        rows = "\n".join(self._row(row, most) for row in self.rows)
        text = _TEMPLATE.read_text(encoding="utf-8")
        filled = {"MODEL": self.before.model, "SUMMARY": "\n".join(self._summary()[1:])}
        for name, value in filled.items():
            text = text.replace(f"<!--{name}-->", html.escape(value))
        with open(path, "w", encoding="utf-8") as file:
            file.write(text.replace("<!--ROWS-->", rows))

    def _summary(self) -> list[str]:
        lines = [f"{self.before.model}: {self.speedup:.2f} times as fast after as before"]
        for name, found in (("before", self.before), ("after", self.after)):
            precision = found.measurement.properties.get("INFERENCE_PRECISION_HINT", "own choice")
            inputs = ", ".join(f"{s.name} {list(s.shape or ())}" for s in found.inputs)
            lines.append(f"{name}: {milliseconds(found.seconds)} ms a run, {precision}; {inputs}")
        return lines

    @staticmethod
    def _row(row: _Row, most: float) -> str:
        bars = "".join(
            f'<div class="{kind}" style="width: {100 * seconds / most:.2f}%"></div>'
            for kind, seconds in (("before", row.before), ("after", row.after))
        )
        times = f"<td>{milliseconds(row.before)}</td><td>{milliseconds(row.after)}</td>"
        return (
            f"<tr><th>{html.escape(row.path)}</th>{times}<td>{_ratio(row)}</td>"
            f'<td class="bars">{bars}</td><td class="kernels">{html.escape(row.change)}</td></tr>'
        )


def _ratio(row: _Row) -> str:
    return f"{row.before / row.after:.2f}" if row.before and row.after else ""
