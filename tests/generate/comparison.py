"""Whether two generations have the same tokens."""

import numpy as np

# Two logits as near as this may come in either order.
MARGIN = 1e-4


class Close:
    """What `same_tokens` returns where two logits were nearly equal."""


def same_tokens(ours, theirs):
    """Asserts equal tokens and masks, up to the first place where two logits are nearly equal.

    Args:
        ours, theirs: results as of `families.results`; the second with gaps.
    """
    gaps = {place: some for place, some in theirs.get("gaps", [])}
    close = None
    for row, (mine, expected) in enumerate(zip(ours["ids"], theirs["ids"], strict=True)):
        differs = np.flatnonzero(np.array(mine) != np.array(expected))
        if len(differs):
            gap = gaps.get(differs[0], [np.inf] * len(ours["ids"]))[row]
            assert gap < MARGIN, (int(differs[0]), gap, mine, expected)
            close = Close
    assert close or ours["mask"] == theirs["mask"]
    return close
