"""Split a COCO json into the increments of class-incremental detection.

    python -m toolkit.split_classes instances_train.json 40 40 --out steps
    python -m toolkit.split_classes instances_train.json 40 10 10 10 10 --protocol co_occurrence --out steps

writes `steps/step_0.json`, `steps/step_1.json` and so on, each annotated with its own classes alone, and says what was dropped and which
flaws the annotations have.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from toolkit.called import program
from toolkit.errors import UserError


def parser() -> argparse.ArgumentParser:
    """The command line."""
    cli = argparse.ArgumentParser(
        prog=program("split_classes"), description="Split a COCO json into steps that bring so many classes each.",
        epilog="exit status: 0 done, 2 something in the input is wrong (said in one sentence)",
    )
    cli.add_argument("json", metavar="JSON", help="annotations in COCO's layout")
    cli.add_argument("sizes", metavar="N", type=int, nargs="+", help="classes of each step, in the order of the categories' ids")
    cli.add_argument(
        "--protocol", choices=("non_co_occurrence", "co_occurrence"), default="non_co_occurrence",
        help="drop images of a later step that show earlier classes, or keep them with these unlabelled (default: non_co_occurrence)",
    )
    cli.add_argument("--images", metavar="FOLDER", help="look through these images too (folder or tar file)")
    cli.add_argument("--out", metavar="FOLDER", default=".", help="where the steps are written (default: here)")
    return cli


def main(argv: list[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    args = parser().parse_args(argv)
    try:
        sys.stdout.write(_split(args))
    except UserError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    return 0


def _split(args: argparse.Namespace) -> str:
    from toolkit.datasets.detection.checks import told
    from toolkit.datasets.detection.folders import checked
    from toolkit.datasets.detection.split import split_classes
    from toolkit.errors import RunDirectoryError

    annotations, found = checked(args.json, args.images)
    split = split_classes(annotations, args.sizes, args.protocol)
    folder = Path(args.out)
    lines = [f"flaws: {told(found)}"] if found else []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for number, step in enumerate(split.steps):
            path = step.annotations.write(folder / f"step_{number}.json")
            names = ", ".join(name for _, name in step.annotations.categories)
            lines.append(f"{path}: {len(step.annotations.images)} images, {len(step.annotations.boxes)} boxes of {names}")
    except OSError as error:
        raise RunDirectoryError(f"--out {folder}: cannot be written ({error.strerror or error})") from error
    lines.append(f"dropped: {len(split.dropped)} images")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
