"""What looks at the truth follows it, through the link that remembers forecasts."""

from __future__ import annotations

import pytest

from tests.acoustic.routing.conftest import finish
from toolkit.acoustic.prediction.ewma import Ewma
from toolkit.acoustic.prediction.oracle import Oracle
from toolkit.acoustic.routing.neighbours import PredictedLink


def test_the_oracle_follows_the_truth_to_the_second() -> None:
    truth_db = {"now": 20.0}
    oracle = Oracle()
    link = PredictedLink(oracle.init(lambda at_s: truth_db["now"]))
    link.sample(0.0, 20.0)
    for second in range(0, 1800):
        truth_db["now"] = 20.0 if second < 100 else -5.0
        forecast, _ = link.forecast(oracle, float(second) + 0.5, float(second), 60.0)
        assert forecast is not None
        assert forecast.mean_db == truth_db["now"]


def test_other_forecasts_are_used_again_within_their_cell() -> None:
    ewma = Ewma()
    link = PredictedLink(ewma.init())
    link.sample(0.0, 20.0)
    first, work = link.forecast(ewma, 10.0, 10.0, 60.0)
    again, none = link.forecast(ewma, 900.0, 900.0, 60.0)
    assert again is first
    assert work.flops > none.flops == 0.0


@pytest.mark.parametrize("fading", [{"kind": "none"}, {"kind": "rician", "k_db": 10}])
def test_on_a_channel_that_collapses_the_oracle_stops_sending_at_once(network, fading: dict) -> None:
    net = network([(0, 0, 800), (0, 0, 400)], [(0, 0, 0)],
                  {"type": "dbcar", "prediction": "oracle", "beacon_s": 36_000.0, "lifetime_s": 1500.0},
                  duration_s=1700.0, fading=fading, epoch_s=2000.0)

    def collapse():
        yield net.world.env.timeout(300.0)
        net.channel.snr_db[:] = -25.0

    def traffic():
        while net.world.now < 1200.0:
            net.send(0, -1, 64, "data")
            yield net.world.env.timeout(20.0)

    net.world.env.process(collapse())
    net.world.env.process(traffic())
    rows = finish(net)
    sent_s = rows[(rows.kind == "tx") & (rows.phase == "data")].t0_s
    assert sent_s.between(0.0, 300.0).sum() >= 15
    assert not sent_s.between(300.0, 1200.0).any()
