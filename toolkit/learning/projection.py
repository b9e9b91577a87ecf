"""Gradients that must not raise the loss on remembered samples: projections onto half-space and cone.

Sources: A-GEM, Chaudhry et al., *Efficient Lifelong Learning with A-GEM*, ICLR 2019, eq. (11); GEM, Lopez-Paz, Ranzato, *Gradient Episodic
Memory for Continual Learning*, NeurIPS 2017, eq. (11). Dot products are summed in float64.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.optimize import nnls
from torch import Tensor

Vector = np.ndarray[tuple[int], np.dtype[np.float64]]
Matrix = np.ndarray[tuple[int, int], np.dtype[np.float64]]
RANK_TOLERANCE = 1e-13


def project_half_space(gradient: Tensor, reference: Tensor) -> Tensor:
    """Return the vector nearest to *gradient* whose product with *reference* is not negative; both flat (d,)."""
    against, straight = gradient.double(), reference.double()
    product = torch.dot(against, straight)
    if product >= 0:
        return gradient
    return (against - product / torch.dot(straight, straight) * straight).to(gradient.dtype)


def project_cone(gradient: Tensor, references: Tensor, margin: float = 0.0) -> Tensor:
    """Return *gradient* (d,), or where it opposes a row of *references* (k, d) the vector of GEM, which opposes none.

    That is g + G'v with the v of min_v v'GG'v / 2 + (Gg)'v, v >= *margin*; with a margin of 0 it is the nearest such vector, a larger one
    moves it further to where the losses of the past fall.
    """
    rows = references.double()
    products = rows @ gradient.double()
    if bool((products >= 0).all()):
        return gradient
    v = bounded_quadratic((rows @ rows.T).cpu().numpy(), products.cpu().numpy(), margin)
    return (gradient.double() + torch.from_numpy(v).to(rows.device) @ rows).to(gradient.dtype)


def bounded_quadratic(gram: Matrix, linear: Vector, lower: float = 0.0) -> Vector:
    """Return the v that minimises v'Pv / 2 + q'v over v >= *lower*, for P = *gram* = GG' (k, k) and q = *linear* = Gg (k,).

    With u = v - lower and P = A'A it is the problem of non-negative least squares |Au - b| with A'b = -(q + lower P1), which has a solution
    as q lies in the range of P; its active-set method is that of Lawson and Hanson 1974. There are as many unknowns as past tasks.
    """
    values, vectors = np.linalg.eigh(gram)
    sound = values > RANK_TOLERANCE * max(float(values[-1]), np.finfo(float).tiny)
    roots = np.sqrt(values[sound])
    a: Matrix = roots[:, None] * vectors[:, sound].T
    b: Vector = -(vectors[:, sound].T @ (linear + lower * gram.sum(axis=1))) / roots
    if not len(b):
        return np.full(len(linear), lower)
    found: Vector = nnls(a, b)[0] + lower
    return found
