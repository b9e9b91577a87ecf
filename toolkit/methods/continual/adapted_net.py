"""A continual network whose 3x3 convolutions can have a 1x1 convolution beside them, which is folded into them afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from toolkit.errors import ScenarioError
from toolkit.methods.continual.learner import Learner
from toolkit.methods.continual.network import ContinualNet


class Adapted(nn.Module):
    """A 3x3 convolution and, while it is open, a 1x1 convolution of the same input added to it; the latter begins at zero."""

    def __init__(self, main: nn.Conv2d) -> None:
        super().__init__()
        self.main = main
        stride = (main.stride[0], main.stride[1])
        side = nn.Conv2d(main.in_channels, main.out_channels, 1, stride, bias=False, device="meta")  # where nothing is drawn
        self.side = side.to_empty(device=main.weight.device)
        nn.init.zeros_(self.side.weight)
        self.is_open = False

    def forward(self, maps: Tensor) -> Tensor:
        found: Tensor = self.main(maps) + self.side(maps) if self.is_open else self.main(maps)
        return found

    @torch.no_grad()
    def fold(self) -> None:
        """Put the 1x1 convolution into the middle of the 3x3 one, and begin it at zero again."""
        self.main.weight[:, :, 1, 1].add_(self.side.weight[:, :, 0, 0])
        self.side.weight.zero_()


def adaptable(module: nn.Module) -> bool:
    """Whether *module* is a convolution into which one of 1x1 pixels can be folded."""
    if not isinstance(module, nn.Conv2d) or module.groups != 1 or module.dilation != (1, 1):
        return False
    return module.kernel_size == (3, 3) and module.padding == (1, 1)


class AdaptedNet(ContinualNet):
    """A network whose 3x3 convolutions are `Adapted`; `features` leaves the sides out, `expanded` takes them."""

    def __init__(self, model: nn.Module, image_shape: tuple[int, int, int]) -> None:
        super().__init__(model, image_shape)
        found = [(path, module) for path, module in model.named_modules() if adaptable(module)]
        if not found:
            raise ScenarioError(
                f"program.task.model: ssre adds to convolutions of 3x3 pixels, and {type(model).__name__} has none; use resnet or resnet18"
            )
        for path, module in found:
            assert isinstance(module, nn.Conv2d)
            model.set_submodule(path, Adapted(module))

    def adapted(self) -> list[Adapted]:
        return [module for module in self.modules() if isinstance(module, Adapted)]

    def train_all_but_sides(self) -> None:
        """Let every weight learn but those of the sides."""
        self.requires_grad_(True)
        for each in self.adapted():
            each.side.requires_grad_(False)

    def train_sides(self) -> None:
        """Let the sides and the classifier learn, and nothing else."""
        self.requires_grad_(False)
        self.model.classifier.requires_grad_(True)
        for each in self.adapted():
            each.side.requires_grad_(True)

    def fold(self) -> None:
        """Fold every side; weights are read and written."""
        for each in self.adapted():
            each.fold()
        self.over_weights(flops=1, reads=2, writes=1)

    def expanded(self, maps: Tensor) -> Tensor:
        """Return pooled features (n, d) of maps, the sides among what works on them."""
        self._count("plain_expanded", maps)
        return self._answered(self.plain_expanded(maps))

    def plain_expanded(self, maps: Tensor) -> Tensor:
        with self._opened():
            return self.plain_features(maps)

    @contextmanager
    def _opened(self) -> Iterator[None]:
        sides = self.adapted()
        for each in sides:
            each.is_open = True
        yield
        for each in sides:
            each.is_open = False


def adapted_net(learner: Learner) -> AdaptedNet:
    """Return the learner's network, which the method made adaptable."""
    if not isinstance(learner.net, AdaptedNet):
        raise TypeError("this network has no sides")
    return learner.net
