"""The run directory: what a comparison leaves on disk, and how a killed one is resumed."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from toolkit.core import yaml12
from toolkit.core.wholefile import write_whole
from toolkit.errors import RunDirectoryError, UserError, shortened
from toolkit.version import VERSION

PACKAGES = (
    "simpy", "numpy", "scipy", "numba", "pandas", "pyarrow", "matplotlib", "pydantic", "torch", "safetensors", "PyWavelets", "scikit-learn",
)

LONGEST = 3800
"""Bytes that the path of a run directory may have; a system allows some 4,096 for the files in it."""


@dataclass(frozen=True)
class RunDirectory:
    """Paths inside DIR, and the rules of its use.

        scenario.yaml (resolved)   versions.json   answers.txt   log.txt
        runs/<arm>-s<seed>.json    the report rows of a finished run, and size and checksum of its files; written last
        runs/<arm>-s<seed>.checkpoint   where a run that was stopped goes on
        ledger/<arm>-s<seed>-NNN.parquet   metrics/<arm>-s<seed>.parquet
        models/<arm>-s<seed>.safetensors, .json   the network that the run trained, for `toolkit.export`; others beside it, such as a
                                   subnet, with ~<part> after the seed
        requests/<arm>-s<seed>.parquet     what programs asked for, for `toolkit.recost`; only of fabrics whose runs can be priced again
        trace/<arm>-s<seed>.parquet, -nodes.parquet   every transmission, reception and drop, for `toolkit.replay`; where asked for
        metrics.parquet report.csv summary.csv differences.csv figures/ report.html DONE
    """

    path: Path

    def open(self, scenario: Mapping[str, object], facts: Mapping[str, object] | None = None, *, resume: bool) -> None:
        """Make the folder ready for *scenario*; ``versions.json`` also says *facts*.

        Raises:
            RunDirectoryError: it holds a run already and *resume* is false, or the run of another scenario; or it cannot be written.
        """
        settings = self.path / "scenario.yaml"
        text = yaml12.dump(scenario)
        if len(os.fsencode(self.path.absolute())) > LONGEST:
            raise RunDirectoryError(f"{shortened(str(self.path))}: is too long a path, above {LONGEST} bytes; give another --out")
        try:
            if settings.exists():
                if not resume:
                    raise RunDirectoryError(
                        f"{self.path}: already holds a run; give another --out, or --resume to finish that one"
                    )
                if settings.read_text(encoding="utf-8") != text:
                    raise RunDirectoryError(
                        f"{self.path}: holds the run of another scenario (its scenario.yaml differs); give another --out"
                    )
            elif self.path.is_dir() and any(path.suffix != ".partial" for path in self.path.iterdir()):
                raise RunDirectoryError(f"{self.path}: is not empty and holds no run; give a new or empty folder as --out")
            self.path.mkdir(parents=True, exist_ok=True)
            (self.path / "DONE").unlink(missing_ok=True)
            write_whole(settings, text.encode())
            write_whole(self.path / "versions.json", (json.dumps({**(facts or {}), **versions()}, indent=2) + "\n").encode())
            for name in ("runs", "ledger", "metrics", "figures"):
                (self.path / name).mkdir(exist_ok=True)
        except (FileExistsError, NotADirectoryError):
            raise RunDirectoryError(f"{self.path}: a file stands where a folder is needed; give another --out") from None
        except FileNotFoundError:
            raise RunDirectoryError(f"{self.path}: no folder can be made there; give another --out") from None

    def record(self, run: str) -> Path:
        return self.path / "runs" / f"{run}.json"

    def checkpoint(self, run: str) -> Path:
        return self.path / "runs" / f"{run}.checkpoint"

    def ledger_stem(self, run: str) -> Path:
        return self.path / "ledger" / run

    def metrics(self, run: str) -> Path:
        return self.path / "metrics" / f"{run}.parquet"

    def requests(self, run: str) -> Path:
        return self.path / "requests" / f"{run}.parquet"

    def network_stem(self, run: str) -> Path:
        return self.path / "models" / run

    def trace_stem(self, run: str) -> Path:
        return self.path / "trace" / run

    def log(self, line: str) -> None:
        with (self.path / "log.txt").open("a", encoding="utf-8") as file:
            file.write(line + "\n")


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn whatever comes of reading a damaged file of a run into one sentence that names *path*."""
    try:
        yield
    except UserError:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
        why = str(error).partition("\n")[0] or type(error).__name__
        raise RunDirectoryError(f"{path}: is damaged ({shortened(why)}); finish the run again with --resume") from error


def versions() -> dict[str, str]:
    """Versions of what the numbers depend on, as installed; nothing is imported to ask it."""
    found = {"toolkit": _version("toolkit"), "python": platform.python_version(), "platform": f"{sys.platform} {platform.machine()}"}
    commit = checkout(Path(__file__).parents[2])
    return found | ({"commit": commit} if commit else {}) | {name: _version(name) for name in PACKAGES}


@cache
def checkout(root: Path) -> str:
    """Return the commit of the git checkout whose root is *root*, with ``-dirty`` where files differ from it; empty where there is none."""
    if not (root / ".git").exists():
        return ""
    try:
        said = subprocess.run(
            ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"], capture_output=True, text=True,
            timeout=10, check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return said.stdout.strip()


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return VERSION if name == "toolkit" else "absent"
