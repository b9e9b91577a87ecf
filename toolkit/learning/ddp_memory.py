"""What one worker of a DDP hook keeps between steps: error and momentum of every parameter, wherever DDP's buckets put it.

A step works on the next values, beside those that count. It ends with `commit`; or it is forgotten, which costs nothing and leaves
everything as it was to the bit.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from toolkit.learning.gs_sgd import forget_sent
from toolkit.learning.runs import joined


class HookMemory:
    """Error, momentum and velocity as vectors (float32, in the units of gradients that no scaler has scaled)."""

    def __init__(self, parameters: Iterable[nn.Parameter], *, momentum: float, masking: bool, dense_below: int) -> None:
        """Give every parameter its place; one that is listed twice, as tied weights are, has one.

        Raises:
            ValueError: none is left to compress.
        """
        self.parameters = list({id(parameter): parameter for parameter in parameters if parameter.requires_grad}.values())
        if not self.parameters:
            raise ValueError("GsSgdHook: no parameter that requires a gradient was given")
        self.factor = momentum
        self.masking = masking
        self.is_small = [parameter.numel() < dense_below for parameter in self.parameters]
        self.places: list[slice] = []
        """Where each parameter lies in `error` and `momentum`, or if it is small, in `velocity`."""
        sizes = [0, 0]
        for parameter, small in zip(self.parameters, self.is_small, strict=True):
            self.places.append(slice(sizes[small], sizes[small] + parameter.numel()))
            sizes[small] += parameter.numel()
        self.size, self.small_size = sizes
        if not self.size:
            raise ValueError(f"dense_below: {dense_below} leaves no parameter to compress; use DDP without a hook")
        self._numbers = {id(parameter): number for number, parameter in enumerate(self.parameters)}
        device = self.parameters[0].device
        self.error = torch.zeros(self.size, device=device)
        self.momentum = torch.zeros(self.size if momentum else 0, device=device)
        self.velocity = torch.zeros(self.small_size, device=device)
        """Of the parameters that travel whole: their momentum, and without momentum their gradient."""
        self.next_error = torch.zeros_like(self.error)
        self.next_momentum = torch.zeros_like(self.momentum)
        self.next_velocity = torch.zeros_like(self.velocity)
        self.touched = torch.zeros(len(self.parameters), device=device)
        """1 for each parameter whose gradient is not zero throughout in this step, else 0."""

    def number_of(self, parameter: nn.Parameter) -> int:
        """Return the place of *parameter* in the order in which they were given.

        Raises:
            RuntimeError: it was not given.
        """
        try:
            return self._numbers[id(parameter)]
        except KeyError:
            raise RuntimeError("GsSgdHook: DDP holds a parameter that the hook was not given; pass it model.parameters()") from None

    def take_in(self, number: int, gradient: Tensor, scale: float, *, whole: bool) -> Tensor:
        """Work *gradient*, which is *scale* times too large, into the next values of a parameter.

        With *whole* it travels whole in this step, and the error keeps nothing of it; the answer is then what travels (flat) in unscaled
        units, and without momentum *gradient* as it is.
        """
        flat, place = gradient.reshape(-1), self.places[number]
        if flat.numel():
            low, high = torch.aminmax(flat)
            self.touched[number] = (low != 0) | (high != 0)
        if self.is_small[number]:
            return torch.mul(self.velocity[place], self.factor, out=self.next_velocity[place]).add_(flat, alpha=1.0 / scale)
        if self.factor:
            u = torch.mul(self.momentum[place], self.factor, out=self.next_momentum[place]).add_(flat, alpha=1.0 / scale)
            if not whole:
                torch.add(self.error[place], u, out=self.next_error[place])
            return u
        if whole:
            return flat
        return torch.add(self.error[place], flat, alpha=1.0 / scale, out=self.next_error[place])

    def used(self, numbers: Sequence[int]) -> Tensor:
        """Return 1 for each of these parameters that has a gradient other than zero on this rank, and else 0 (float32)."""
        return self.touched[torch.tensor(numbers, device=self.touched.device)]

    def keep(self, number: int) -> None:
        """Let the next values of a parameter be those it has."""
        place = self.places[number]
        if self.is_small[number]:
            self.next_velocity[place] = self.velocity[place]
            return
        self.next_error[place] = self.error[place]
        if self.factor:
            self.next_momentum[place] = self.momentum[place]

    def forget_sent(self, chosen: Tensor) -> None:
        """Take the coordinates that all ranks have just been given out of the next values."""
        forget_sent(chosen, self.next_error, self.next_momentum if self.masking else None)

    def commit(self, *, whole: bool) -> Tensor:
        """Let the next values count; return a vector of zeros of the size of the error, to be used until the next step begins.

        With *whole* all gradients travelled whole, and the error is what it was.
        """
        self.momentum, self.next_momentum = self.next_momentum, self.momentum
        self.velocity, self.next_velocity = self.next_velocity, self.velocity
        if not whole:
            self.error, self.next_error = self.next_error, self.error
        return self.next_error.zero_()

    def large_runs(self, numbers: Iterable[int]) -> list[slice]:
        """Where those of these parameters lie that are compressed."""
        return joined(self.places[number] for number in numbers if not self.is_small[number])

    def small_runs(self, numbers: Iterable[int]) -> list[slice]:
        """Where those of these parameters lie that travel whole."""
        return joined(self.places[number] for number in numbers if self.is_small[number])
