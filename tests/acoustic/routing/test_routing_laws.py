"""What every routing protocol keeps: packets are conserved, loops end, the same seed gives the same run."""

from __future__ import annotations

import pytest

from tests.acoustic.routing.conftest import settings
from toolkit.acoustic.routing import Routing
from toolkit.errors import UserError
from toolkit.laws import Law, laws_of, title
from toolkit.scenario import Scenario

NAMES = sorted(Routing.members())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("law", laws_of(Routing), ids=title)
def test_law(law: Law, name: str) -> None:
    law(Routing.find(name).model_validate({key: value for key, value in settings(name).items() if key != "type"}))


@pytest.mark.parametrize("name", NAMES)
def test_a_mistake_in_a_setting_is_told_with_its_place(name: str) -> None:
    for setting, says in (({"rangem": 5.0}, r"fabric\.routing: unknown key 'rangem'"), ({"type": f"{name}x"}, r"fabric\.routing: '")):
        with pytest.raises(UserError, match=rf"^{says}[^\n]*$"):
            Scenario.build(scenario({**settings(name), **setting}))


def scenario(routing: dict) -> dict:
    return {
        "name": "small", "duration_s": 60.0, "program": {"type": "periodic", "interval_s": 60.0},
        "fabric": {"type": "acoustic", "sea": {}, "routing": routing},
    }
