"""A network as a file that runs without this toolkit: `torch.export` programs and ONNX, each checked to give the same outputs.

    from toolkit.export import to_onnx, to_torch_export
    to_torch_export(small, (1, 28, 28), "small.pt2")          # torch.export.load("small.pt2").module()(images)
    to_onnx(small, (1, 28, 28), "small.onnx")                  # needs the packages onnx and onnxscript; checked where onnxruntime is there

The number of images in a batch stays free.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor, nn

from toolkit.errors import ToolkitError, UserError

TOLERANCE = 1e-5
"""Largest difference of a score, as a share of the largest score."""
TRIED = 3
"""Images in the batch that outputs are compared on: other than the one exported with."""


class ExportError(UserError):
    """A package that writing or checking the file needs is not installed."""


class OutputsDiffer(ToolkitError):  # noqa: N818 - what happened
    """The written file gives other outputs than the network."""


def to_torch_export(model: nn.Module, shape: Sequence[int], path: str | Path) -> Path:
    """Write *model* for images of *shape* (channels, height, width) as a `torch.export` program, read it back and compare; return *path*.

    Raises:
        OutputsDiffer: the file's outputs are not the model's.
    """
    path = Path(path)
    example = _images(shape, 2)
    batch = torch.export.Dim("batch")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns of its own internals here
        program = torch.export.export(model.eval(), (example,), dynamic_shapes=({0: batch},))
        torch.export.save(program, path)
        read = torch.export.load(path).module()
    images = _images(shape, TRIED)
    with torch.no_grad():
        _compare(model(images), read(images), path)
    return path


def to_onnx(model: nn.Module, shape: Sequence[int], path: str | Path) -> Path:
    """Write *model* for images of *shape* as ONNX, and compare where onnxruntime is installed; return *path*.

    The input is called ``images`` and the output ``scores``.

    Raises:
        ExportError: onnx or onnxscript is not installed.
        OutputsDiffer: the file's outputs are not the model's.
    """
    for package in ("onnx", "onnxscript"):
        if find_spec(package) is None:
            raise ExportError(f"export to ONNX needs the package {package}, which is not installed: pip install onnx onnxscript")
    path = Path(path)
    batch = torch.export.Dim("batch")
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model.eval(), (_images(shape, 2),), str(path), input_names=["images"], output_names=["scores"], dynamic_shapes=({0: batch},),
            dynamo=True, external_data=False,
        )
    if find_spec("onnxruntime") is not None:
        runtime = import_module("onnxruntime")  # optional, so not imported by name
        images = _images(shape, TRIED)
        session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        (scores,) = session.run(["scores"], {"images": images.numpy()})
        with torch.no_grad():
            _compare(model(images), torch.from_numpy(scores), path)
    return path


def _images(shape: Sequence[int], count: int) -> Tensor:
    return torch.randn((count, *shape), generator=torch.Generator().manual_seed(count))


def _compare(expected: Tensor, found: Tensor, path: Path) -> None:
    gap = float((expected - found).abs().max())
    if not gap <= TOLERANCE * max(1.0, float(expected.abs().max())):
        raise OutputsDiffer(f"{path}: its outputs differ from the network's by up to {gap:.3g}")
