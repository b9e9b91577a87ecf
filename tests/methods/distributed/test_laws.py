"""What every method keeps: replicas are equal to the bit, bytes are those it says, nothing is lost, and a run can be interrupted."""

from __future__ import annotations

import pytest
import torch

from tests.methods.distributed.driver import MATRICES, NAMES, make, train
from toolkit.laws import Law, laws_of, title
from toolkit.methods.distributed import ExchangeMethod

WITH_RESIDUAL = ["dgc", "ef_signsgd", "gs_sgd", "gtop_k", "one_bit", "powersgd", "random_k", "sketched_sgd", "top_k"]
"""Methods with error feedback on the workers."""


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("law", laws_of(ExchangeMethod), ids=title)
def test_law(law: Law, name: str) -> None:
    law(make(name))


@pytest.mark.parametrize("name", WITH_RESIDUAL)
def test_error_feedback_is_a_residual_that_its_law_sees(name: str) -> None:
    for state in train(make(name, momentum=0.0), 3, 2, layout=MATRICES).states[:3]:
        assert isinstance(state.error, torch.Tensor)
        assert state.error.shape == (MATRICES.size,)
