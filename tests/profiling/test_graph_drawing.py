"""Places for the nodes of a graph."""

import itertools
import random

import pytest

from kerasvino.profiling.graph_drawing import layered


def overlaps(x, ranks, width, gap):
    rows = {}
    for node, rank in enumerate(ranks):
        rows.setdefault(rank, []).append(x[node])
    for row in rows.values():
        row.sort()
        yield from (b - a for a, b in itertools.pairwise(row) if b - a < width + gap - 1e-6)


def test_a_chain_is_straight():
    x, ranks, paths = layered([[], [0], [1], [2]], 100, 20)
    assert ranks == [0, 1, 2, 3]
    assert len(set(x)) == 1
    assert paths == {}


def test_a_residual_passes_beside_what_it_skips():
    # 0 -> 1 -> 2 -> 3 and 0 -> 3
    x, ranks, paths = layered([[], [0], [1], [2, 0]], 100, 20)
    assert ranks == [0, 1, 2, 3]
    assert [rank for _, rank in paths[0]] == [1, 2]
    for place, rank in paths[0]:
        assert abs(place - x[rank]) >= 100 / 2 + 20 + 24 / 2 - 1e-6


def test_branches_are_beside_each_other():
    x, ranks, _ = layered([[], [0], [0], [0], [1, 2, 3]], 100, 20)
    assert ranks == [0, 1, 1, 1, 2]
    assert x[0] == pytest.approx(sorted(x[1:4])[1])
    assert not list(overlaps(x, ranks, 100, 20))


def test_no_graph():
    assert layered([], 100, 20) == ([], [], {})


@pytest.mark.parametrize("seed", range(20))
def test_random_graphs(seed):
    choose = random.Random(seed)
    count = choose.randrange(2, 60)
    sources = [
        sorted(choose.sample(range(node), min(node, choose.randrange(0, 4))))
        for node in range(count)
    ]
    x, ranks, paths = layered(sources, 100, 20)
    assert not list(overlaps(x, ranks, 100, 20))
    for node, above in enumerate(sources):
        for source in above:
            assert ranks[source] < ranks[node]
            # the thread of the source reaches to the rank above the node
            reached = [rank for _, rank in paths.get(source, [])]
            assert reached[: ranks[node] - ranks[source] - 1] == list(
                range(ranks[source] + 1, ranks[node])
            )
