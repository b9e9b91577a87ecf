"""Networks that change while they are trained."""

from __future__ import annotations

from abc import abstractmethod

from torch import Tensor, nn


class Evolving(nn.Module):
    """A network that its training loop has to tell how far it is. `toolkit.models.condensenet` is one."""

    @abstractmethod
    def advance(self, progress: float) -> None:
        """Change what is due when *progress* (0 to 1) of the training is over; called after every step."""

    @abstractmethod
    def penalty(self) -> Tensor:
        """Return what the loss must take in for it, unweighted."""

    @abstractmethod
    def resume(self) -> None:
        """Work out what follows from weights and buffers, which have just been replaced by those of a stopped training."""

    @abstractmethod
    def finish(self) -> None:
        """Become, in place, the network that is used, once training is over."""
