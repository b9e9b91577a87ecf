"""The probe: scores, inside a run, what each node expects of its links against what the channel then does.

It only observes: its questions cost the node nothing, and no later answer depends on them. A fit that one of them renews is not charged
again to the node that uses it (`docs/prediction.md`, known defects).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from pydantic import Field

from toolkit.acoustic.phy.channel import Channel
from toolkit.acoustic.prediction import Forecast
from toolkit.acoustic.routing import LinkHistory
from toolkit.core.bounds import Positive
from toolkit.core.part import Spec
from toolkit.core.program import Process
from toolkit.core.world import World

Z90 = 1.6448536269514722
"""Half the width of a central 90 % interval, in standard deviations."""

Forecaster = Callable[[int, int, float], Forecast | None]


class Probe(Spec):
    """Which forecasts are scored: for `links` links, every `every_s`, at each horizon."""

    links: int = Field(24, ge=0, description="upward links scored, drawn at random among those heard at least now and then")
    every_s: float = Field(1800.0, ge=1, description="time between two rounds of forecasts")
    horizons_s: list[Positive] = Field([1800.0, 3600.0, 10800.0, 21600.0], description="how far ahead; rounded to rounds of every_s")

    def choose(self, links: list[tuple[int, int]], past: LinkHistory, rng: np.random.Generator) -> list[tuple[int, int]]:
        """Draw the links to be scored; the first, shown as an example, is the one heard most nearly six times out of ten."""
        if len(links) > self.links:
            links = [links[index] for index in sorted(rng.choice(len(links), self.links, replace=False).tolist())]
        share = past.heard.sum(axis=0) / max(1, len(past.t_s))
        return sorted(links, key=lambda link: abs(float(share[link]) - 0.6))

    def run(
        self, world: World, channel: Channel, links: list[tuple[int, int]], forecaster: Forecaster, least_snr_db: float
    ) -> Process:
        """Ask and score. The truth is the channel's mean SNR (shadowing in, fast fading out) at the target time.

        An SNR below *least_snr_db*, where nothing is heard, counts as that level, in truth and forecast alike: how far below no node
        can measure, and no decision depends on it.

        Metrics: ``forecast_error_db`` and ``forecast_covered`` per forecast (step = horizon in s, who = link), ``forecast_fell_back``
        where something simpler than the method answered; for the first link also the truth and the forecasts themselves.
        """
        waiting: dict[int, list[tuple[int, int, int, Forecast]]] = {}
        strides = {max(1, round(horizon_s / self.every_s)) for horizon_s in self.horizons_s}
        for tick in range(int(world.duration_s // self.every_s) + 1):
            delay_s = tick * self.every_s - world.now
            yield world.env.timeout(max(0.0, delay_s))
            for sender, receiver, stride, forecast in waiting.pop(tick, ()):
                truth_db = max(channel.mean_snr_db(sender, receiver), least_snr_db)
                who, step = f"{sender}->{receiver}", round(stride * self.every_s)
                error_db = max(forecast.mean_db, least_snr_db) - truth_db
                world.ledger.metric(world.now, "forecast_error_db", error_db, who, step)
                world.ledger.metric(world.now, "forecast_covered", float(abs(error_db) <= Z90 * forecast.std_db), who, step)
                if forecast.fell_back:
                    world.ledger.metric(world.now, "forecast_fell_back", 1.0, who, step)
            for index, (sender, receiver) in enumerate(links):
                who = f"{sender}->{receiver}"
                if index == 0:
                    world.ledger.metric(world.now, "link_snr_db", channel.mean_snr_db(sender, receiver), who)
                for stride in sorted(strides):
                    target_s = (tick + stride) * self.every_s
                    forecast_or_none = forecaster(sender, receiver, target_s)
                    if forecast_or_none is None or target_s > world.duration_s:
                        continue
                    waiting.setdefault(tick + stride, []).append((sender, receiver, stride, forecast_or_none))
                    if index == 0:
                        step = round(stride * self.every_s)
                        world.ledger.metric(target_s, "link_forecast_db", forecast_or_none.mean_db, who, step)
                        world.ledger.metric(target_s, "link_forecast_std_db", forecast_or_none.std_db, who, step)
