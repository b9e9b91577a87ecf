from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from toolkit.cluster.link import PROFILES, Link
from toolkit.core.part import Spec, explain


class Cable(Spec):
    link: Link = Link()


def problems(value: Any) -> list[str]:
    with pytest.raises(ValidationError) as caught:
        Cable.model_validate({"link": value})
    return explain(caught.value)


@pytest.mark.parametrize("name", Link.profiles())
def test_every_profile_is_whole_and_says_where_its_numbers_come_from(name: str) -> None:
    assert PROFILES.read(name).keys() == Link.model_fields.keys() - {"profile", "loss"}
    link = Link(profile=name)
    assert "ssumed" in link.source or "Recalled" in link.source
    assert link.energy_j_per_bit > 0 or link.idle_w > 0
    assert Link.model_validate(link.model_dump(mode="json")) == link


def test_the_default_is_gigabit_ethernet() -> None:
    named = Link(profile="gigabit_ethernet")
    assert Link() == named.model_copy(update={"profile": None, "source": ""})


def test_two_gtopk_links_cost_what_its_authors_measured() -> None:
    """0.436 ms and 9e-6 ms per byte between two hosts of a star."""
    link = Link(profile="gigabit_ethernet_gtopk")
    assert 2 * link.delay_s == pytest.approx(0.436e-3, rel=1e-12)
    assert 8 / link.rate_bps == pytest.approx(9e-9, rel=1e-12)


@pytest.mark.parametrize("access", ["lte", "five_g", "home_adsl", "home_fibre"])
def test_access_links_are_faster_down_than_up(access: str) -> None:
    up, down = (Link(profile=f"{access}_{way}") for way in ("up", "down"))
    assert up.rate_bps < down.rate_bps
    assert up.energy_j_per_bit >= down.energy_j_per_bit


def test_lte_draws_what_the_power_model_says_at_its_rate() -> None:
    for way, rate_mbps, slope_mw in (("up", 6, 438.39), ("down", 13, 51.97)):
        link = Link(profile=f"lte_{way}")
        power_w = (1288.04 + slope_mw * rate_mbps) / 1e3
        assert link.energy_j_per_bit * link.rate_bps == pytest.approx(power_w, rel=0.002)


def test_lost_packets_are_paid_twice() -> None:
    link = Link(rate_bps=100, loss=0.2, energy_j_per_bit=4)
    assert link.goodput_bps == pytest.approx(80)
    assert link.energy_j_per_delivered_bit == pytest.approx(5)
    assert link.goodput_bps * link.energy_j_per_delivered_bit == pytest.approx(100 * 4)  # the power on the wire is the same


def test_a_bundle_has_the_rates_and_powers_of_its_links() -> None:
    link = Link(rate_bps=100, delay_s=3, loss=0.1, energy_j_per_bit=2, idle_w=5)
    assert link.bundled(4) == Link(rate_bps=400, delay_s=3, loss=0.1, energy_j_per_bit=2, idle_w=20)
    assert link.lengthened(2) == Link(rate_bps=100, delay_s=5, loss=0.1, energy_j_per_bit=2, idle_w=5)


def test_a_name_alone_is_the_whole_profile_and_explicit_keys_override_it() -> None:
    assert Cable.model_validate({"link": "nvlink3"}).link == Link(profile="nvlink3")
    assert Link(profile="nvlink3", loss=0.5).goodput_bps == 0.5 * Link(profile="nvlink3").rate_bps


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("gigabit_ethernt", "'gigabit_ethernt' is not a link profile; did you mean 'gigabit_ethernet'?"),
        ({"loss": 1}, "link.loss"),
        ({"rate_bps": 0}, "link.rate_bps"),
        ({"delay_s": -1}, "link.delay_s"),
        ({"delay": 1}, "unknown key 'delay'; did you mean 'delay_s'?"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(value: Any, words: str) -> None:
    (line,) = problems(value)
    assert words in line
