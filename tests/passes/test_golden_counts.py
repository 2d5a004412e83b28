"""Networks run with the nodes that were recorded: no pass finds less than it did."""

import json

import pytest

from tests.passes.golden_counts import FILE, NETWORKS, counts

RECORDED = json.loads(FILE.read_text())
QUICK = ("UNet", "Encoder", "LSTM+BiGRU", "MobileNetV2")


def test_all_networks_are_recorded():
    assert sorted(RECORDED) == sorted(NETWORKS)


@pytest.mark.parametrize(
    "network",
    [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in NETWORKS],
)
def test_nodes_are_those_that_were_recorded(network):
    found = counts(network)
    assert found == RECORDED[network], (
        f"{sum(found.values())} nodes, {sum(RECORDED[network].values())} recorded. If that is "
        f"meant: python -m tests.passes.golden_counts {network}"
    )
