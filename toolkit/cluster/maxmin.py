"""Max-min fair rates: how flows that share links divide them.

Source: Bertsekas and Gallager, Data Networks, 1992, section 6.5.2 (progressive filling). All flows grow together; when a link is full, the
flows through it stop growing and the others go on.
"""

from __future__ import annotations

from collections.abc import Sequence

Use = tuple[int, float]
"""A link and how much of it a flow takes for each unit of its own rate (1 for data, less for acknowledgements)."""

SAME = 1e-12
"""Relative difference below which two shares are taken as the same bottleneck level."""


def max_min_rates(uses: Sequence[Sequence[Use]], capacity: Sequence[float]) -> list[float]:
    """Return the rate of each flow.

    Args:
        uses: the links that each flow takes, at least one and none twice.
        capacity: what each link carries; the unit of the result.
    """
    users: dict[int, dict[int, float]] = {}
    for flow, links in enumerate(uses):
        for link, weight in links:
            users.setdefault(link, {})[flow] = weight
    left = {link: float(capacity[link]) for link in users}
    rates = [0.0] * len(uses)
    while users:
        shares = {link: left[link] / sum(flows.values()) for link, flows in users.items()}
        level = min(shares.values())
        for link in [link for link, share in shares.items() if share <= level * (1 + SAME)]:
            for flow in list(users.get(link, ())):
                rates[flow] = level
                for other, weight in uses[flow]:
                    del users[other][flow]
                    left[other] -= level * weight
                    if not users[other]:
                        del users[other]
    return rates
