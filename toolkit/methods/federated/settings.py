"""The settings that all federated programs share, and what follows from them alone."""

from __future__ import annotations

import math
from typing import ClassVar

from pydantic import Field

from toolkit.core.bounds import Share
from toolkit.core.part import default_part
from toolkit.core.program import Program
from toolkit.core.work import FLOAT_BYTES
from toolkit.methods.federated.availability import Availability
from toolkit.methods.federated.splits import Split
from toolkit.methods.federated.work import HEADER_BYTES, vector_size
from toolkit.methods.task import TaskSpec


class FederationSettings(Program):
    """What is learnt, from which data, by which clients, and in which steps."""

    led_by_server: ClassVar[bool] = True

    task: TaskSpec = Field(TaskSpec(), description="data set and network")
    split: Split = default_part("iid", "which client has which samples")
    availability: Availability = default_part("always", "when clients are there")
    rounds: int = Field(100, ge=1, description="versions of the model that the server makes")
    epochs: int = Field(1, ge=1, description="local epochs of a visit (E)")
    batch: int = Field(10, ge=1, description="samples of a local step (B); a client with fewer takes all it has")
    lr: float = Field(0.1, gt=0, description="learning rate of the clients")
    evaluate_every: int = Field(5, ge=1, description="versions between two evaluations")
    retry_s: float = Field(10.0, ge=0.01, description="time in s after which the server looks again where no client is there")
    threads: int = Field(1, ge=1, description="CPU threads of torch; more may change last bits, and so break repeatability")
    learn: bool = Field(True, description="false: nothing is learnt, and errands cost what they would")
    targets: list[Share] = Field(default_factory=list, description="test accuracies whose first reaching is reported")

    @property
    def proximal(self) -> float:
        """Weight of the pull towards the weights that a client began with."""
        return 0.0

    @property
    def limit_s(self) -> float:
        """Time of computing in s after which a client begins no further step."""
        return math.inf

    @property
    def message_nbytes(self) -> int:
        """Bytes of a message with weights."""
        return HEADER_BYTES + FLOAT_BYTES * vector_size(self.task)

    @property
    def reply_nbytes(self) -> int:
        """Bytes of an update."""
        return self.message_nbytes
