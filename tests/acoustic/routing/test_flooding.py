from __future__ import annotations

from tests.acoustic.routing.conftest import finish


def test_everybody_repeats_once(network) -> None:
    net = network([(0, 0, 300), (100, 0, 250), (0, 100, 200)], [(50, 50, 0)], "flooding", mac="csma")
    net.send(0, -1, 50, "data")
    rows = finish(net)
    assert sorted(rows[rows.kind == "tx"].node) == [0, 1, 2]
    assert rows[rows.kind == "send"].outcome.item() == "delivered"


def test_ttl_ends_a_flood(network) -> None:
    chain = [(0, 0, 2800), (0, 0, 1900), (0, 0, 1000)]
    for ttl, outcome in ((1, "lost"), (2, "lost"), (3, "delivered")):
        net = network(chain, [(0, 0, 0)], {"type": "flooding", "ttl": ttl}, modem={"profile": "evologics_like", "source_level_db": 134})
        assert net.channel.snr_db[0, 2] < 0
        net.send(0, -1, 50, "data")
        sends = finish(net).query("kind == 'send'")
        assert sends.outcome.item() == outcome
