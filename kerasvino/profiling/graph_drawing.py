"""Places for the nodes of a directed acyclic graph, to draw it from top to bottom.

The layered method of Sugiyama, Tagawa and Toda (1981): a rank for each node, order within a rank by
the barycentres of neighbours, and coordinates that pull neighbours together.
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["layered"]

_SWEEPS = 4
_THREAD = 24  # width kept free for an edge that passes a rank


def layered(
    sources: Sequence[Sequence[int]], width: float, gap: float
) -> tuple[list[float], list[int], dict[int, list[tuple[float, int]]]]:
    """Lays out a graph whose nodes are in topological order.

    Args:
        sources: for each node the nodes that it has edges from.
        width: of a node.
        gap: between nodes.

    Returns:
        The centre of each node across; its rank; and for each node with edges that pass ranks, the
        points (centre, rank) which they pass through, shared by all of them as far as each goes.
    """
    ranks: list[int] = []
    for above in sources:
        ranks.append(1 + max((ranks[source] for source in above), default=-1))
    count = len(ranks)
    # One thread of further nodes for each node, down to the last rank that it has an edge to.
    threads: dict[int, list[int]] = {}
    for node, above in enumerate(sources):
        for source in above:
            thread = threads.setdefault(source, [])
            while ranks[source] + len(thread) + 1 < ranks[node]:
                thread.append(count)
                count += 1
    rank_of = [*ranks, *(0 for _ in range(count - len(ranks)))]
    parents: list[list[int]] = [[] for _ in range(count)]
    for source, thread in threads.items():
        for step, node in enumerate(thread):
            rank_of[node] = ranks[source] + 1 + step
            parents[node] = [thread[step - 1] if step else source]
    for node, above in enumerate(sources):
        for source in above:
            distance = ranks[node] - ranks[source]
            parents[node].append(source if distance == 1 else threads[source][distance - 2])
    x = _coordinates(rank_of, parents, len(ranks), width, gap)
    paths = {
        source: [(x[node], rank_of[node]) for node in thread]
        for source, thread in threads.items()
        if thread
    }
    return x[: len(ranks)], ranks, paths


def _coordinates(rank_of, parents, real, width, gap) -> list[float]:
    count = len(rank_of)
    children: list[list[int]] = [[] for _ in range(count)]
    for node, above in enumerate(parents):
        for parent in above:
            children[parent].append(node)
    rows: list[list[int]] = [[] for _ in range(1 + max(rank_of, default=-1))]
    for node, rank in enumerate(rank_of):
        rows[rank].append(node)
    halves = [(width if node < real else _THREAD) / 2 for node in range(count)]
    x = [0.0] * count
    for sweep in range(2 * _SWEEPS):
        down = sweep % 2 == 0
        for row in rows if down else reversed(rows):
            wanted = {}
            for node in row:
                near = parents[node] if down else children[node]
                wanted[node] = sum(x[n] for n in near) / len(near) if near else x[node]
            if sweep < _SWEEPS:  # later the order stays, and only places settle
                row.sort(key=lambda node: (wanted[node], node))
            for node, place in zip(row, _spread(row, wanted, halves, gap), strict=True):
                x[node] = place
    return x


def _spread(row, wanted, halves, gap) -> list[float]:
    """Places nearest (in squares) to the wanted ones in which no two nodes of a row overlap."""
    offsets, offset = [], 0.0
    for index, node in enumerate(row):
        if index:
            offset += halves[row[index - 1]] + gap + halves[node]
        offsets.append(offset)
    blocks: list[tuple[float, int]] = []  # sum and number: pool adjacent violators
    for node, start in zip(row, offsets, strict=True):
        total, number = wanted[node] - start, 1
        while blocks and blocks[-1][0] / blocks[-1][1] > total / number:
            before = blocks.pop()
            total, number = total + before[0], number + before[1]
        blocks.append((total, number))
    flat = [total / number for total, number in blocks for _ in range(number)]
    return [place + start for place, start in zip(flat, offsets, strict=True)]
