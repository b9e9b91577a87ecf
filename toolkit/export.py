"""A network as a file that runs without this toolkit: `torch.export` programs and ONNX, each checked to give the same outputs.

    python -m toolkit.export runs/gs_sgd-… --arm dense --format onnx

takes the network that a run has trained, as it stands in `models` of the run directory. From Python:

    from toolkit.export import to_onnx, to_torch_export, trained
    model, facts = trained("runs/gs_sgd-…", "dense", 1)        # the network in eval mode, and what is known of it
    to_torch_export(small, (1, 28, 28), "small.pt2")          # torch.export.load("small.pt2").module()(images)
    to_onnx(small, (1, 28, 28), "small.onnx")                  # needs the packages onnx and onnxscript; checked where onnxruntime is there

The number of images in a batch stays free.
"""

from __future__ import annotations

import argparse
import io
import shutil
import sys
import warnings
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.called import program
from toolkit.errors import RunDirectoryError, ToolkitError, UserError, listed

if TYPE_CHECKING:
    from torch import Tensor, nn

FORMATS = {"onnx": ".onnx", "pt2": ".pt2", "safetensors": ".safetensors"}
"""Names of formats, and how their files end."""

TOLERANCE = 1e-5
"""Largest difference of a score, as a share of the largest score."""
TRIED = 3
"""Images in the batch that outputs are compared on: other than the one exported with."""


class ExportError(UserError):
    """A package that writing or checking the file needs is not installed."""


class OutputsDiffer(ToolkitError):  # noqa: N818 - what happened
    """The written file gives other outputs than the network."""


def trained(
    run: str | Path, arm: str | None = None, seed: int | None = None, *, part: str | None = None
) -> tuple[nn.Module, dict[str, Any]]:
    """Return the network that *run* has trained, in eval mode, and what is known of it; the first arm and seed where none is named.

    With *part* it is one that was left beside it, such as E2Net's ``representative``.

    Raises:
        RunDirectoryError: the directory holds no such network.
    """
    from toolkit.methods.trained_network import trained_network

    return trained_network(find(Path(run), arm, seed, part))


def find(run: Path, arm: str | None, seed: int | None, part: str | None = None) -> Path:
    """Return the stem of the network of *arm* and *seed*, or of a *part* beside it, in a run directory.

    Raises:
        RunDirectoryError: there is none.
    """
    from toolkit.core.network_file import part_stem

    files = sorted((run / "models").glob("*.safetensors"))
    names = [name for name in (path.name.removesuffix(".safetensors") for path in files) if "~" not in name]
    if not names:
        raise RunDirectoryError(f"{run / 'models'}: holds no trained network; runs that learn nothing or are not finished leave none")
    if arm is None:
        arm = names[0].rpartition("-s")[0]
    seeds = [name.rpartition("-s")[2] for name in names if name.rpartition("-s")[0] == arm]
    if not seeds:
        arms = listed(dict.fromkeys(name.rpartition("-s")[0] for name in names))
        raise RunDirectoryError(f"--arm {arm}: is not among the arms with a network in {run / 'models'} ({arms})")
    number = seeds[0] if seed is None else str(seed)
    if number not in seeds:
        raise RunDirectoryError(f"--seed {number}: arm {arm} has networks of the seeds {listed(seeds)}")
    name = f"{arm}-s{number}"
    stems = [path.name.removesuffix(".safetensors") for path in files]
    parts = [stem.partition("~")[2] for stem in stems if stem.startswith(f"{name}~")]
    if part is not None and part not in parts:
        raise RunDirectoryError(f"--part {part}: was not left beside the network of {name}; there is {listed(parts) or 'nothing'}")
    return part_stem(run / "models" / name, part or "")


def to_torch_export(model: nn.Module, shape: Sequence[int], path: str | Path) -> Path:
    """Write *model* for images of *shape* (channels, height, width) as a `torch.export` program, read it back and compare; return *path*.

    Raises:
        OutputsDiffer: the file's outputs are not the model's.
    """
    import torch

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
    import torch

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
    import torch

    return torch.randn((count, *shape), generator=torch.Generator().manual_seed(count))


def _compare(expected: Tensor, found: Tensor, path: Path) -> None:
    gap = float((expected - found).abs().max())
    if not gap <= TOLERANCE * max(1.0, float(expected.abs().max())):
        raise OutputsDiffer(f"{path}: its outputs differ from the network's by up to {gap:.3g}")


def parser() -> argparse.ArgumentParser:
    """The command line."""
    cli = argparse.ArgumentParser(
        prog=program("export"),
        description="Write the network that a run has trained to a file that runs without this toolkit, and check its outputs.",
        epilog="exit status: 0 done, 2 something in the input is wrong (said in one sentence). Networks of your own are built by your own "
        "code: name its package with --trust.",
    )
    cli.add_argument("run", metavar="RUN", help="run directory of toolkit.simulate")
    cli.add_argument("--arm", metavar="NAME", help="arm (default: the first)")
    cli.add_argument("--seed", type=int, metavar="N", help="seed (default: the first)")
    cli.add_argument("--part", metavar="NAME", help="a network left beside it, such as E2Net's representative")
    cli.add_argument("--format", choices=tuple(FORMATS), default="onnx", help="format of the file (default: onnx)")
    cli.add_argument("--out", metavar="FILE", help="file to write (default: ARM-sSEED with the format's ending, in the working directory)")
    cli.add_argument("--trust", metavar="PACKAGE", action="append", default=[], help="let the network be built by code of this package")
    return cli


def main(argv: list[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    args = parser().parse_args(argv)
    try:
        path, facts = _export(args)
    except (UserError, OutputsDiffer) as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    shape = "x".join(map(str, facts["shape"]))
    if "detector" in facts:
        sys.stdout.write(
            f"{path}\ndetector of {', '.join(facts['names'])} on {facts['dataset']}; takes images (n, {shape}) as pixel / 255; gives for "
            "each cell the corners of a box and a score per class, to be thinned out by non-maximum suppression\n"
        )
        return 0
    sys.stdout.write(
        f"{path}\n{facts['model']['name']} on {facts['dataset']}: test accuracy {facts['test_accuracy']:.4f}; takes images (n, {shape}) as "
        f"(pixel / 255 - mean) / std, mean {_told(facts['mean'])}, std {_told(facts['std'])}; gives {facts['num_classes']} scores\n"
    )
    return 0


def _export(args: argparse.Namespace) -> tuple[Path, dict[str, Any]]:
    from toolkit.core import trust
    from toolkit.methods.trained_network import trained_network

    trust.trust(args.trust)
    stem = find(Path(args.run), args.arm, args.seed, args.part)
    path = Path(args.out) if args.out is not None else Path(stem.name + FORMATS[args.format])
    model, facts = trained_network(stem)
    try:
        if args.format == "safetensors":
            shutil.copyfile(stem.with_name(f"{stem.name}.safetensors"), path)
        else:
            (to_onnx if args.format == "onnx" else to_torch_export)(model, facts["shape"], path)
    except OSError as error:
        raise RunDirectoryError(f"--out {path}: cannot be written ({error.strerror or error})") from error
    return path, facts


def _told(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.4f}" for value in values)


if __name__ == "__main__":
    sys.exit(main())
