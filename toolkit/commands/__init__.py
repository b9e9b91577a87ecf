"""The commands of this package by their words, each in a module that is imported when it is called."""

from __future__ import annotations

from typing import NamedTuple


class Command(NamedTuple):
    """A word of the command line."""

    module: str
    """Holds ``parser()`` and ``main(argv)``."""
    about: str


GROUPS: dict[str, dict[str, Command]] = {
    "run": {
        "simulate": Command("toolkit.simulate", "run every arm and seed of a scenario, and report"),
        "sweep": Command("toolkit.commands.sweeping", "the same for a grid of settings"),
        "estimate": Command("toolkit.estimate", "say what each arm will take, before anything runs"),
        "train": Command("toolkit.train", "train a scenario in real processes"),
        "predict": Command("toolkit.predict.command", "forecast a column of your own table"),
    },
    "look at runs": {
        "compare": Command("toolkit.commands.comparing", "put run directories side by side"),
        "recost": Command("toolkit.recost", "price a finished run on other machines, links or schedules"),
        "replay": Command("toolkit.replay", "play a traced run of the sea in a page"),
        "timeline": Command("toolkit.timeline", "write a run as a trace for Perfetto"),
        "export": Command("toolkit.export", "write a trained network as ONNX, torch.export or safetensors"),
    },
    "find out, and write your own": {
        "list": Command("toolkit.commands.listing", "what there is: families, and their members"),
        "describe": Command("toolkit.commands.describing", "one member: its settings with units, ranges and defaults"),
        "new": Command("toolkit.commands.beginning", "begin a part, profile or network of your own, with its tests"),
        "check": Command("toolkit.commands.checking", "hold a part of your own against the laws of its family"),
        "schema": Command("toolkit.commands.schema", "the JSON schema of scenarios, for editors"),
        "completion": Command("toolkit.commands.completion", "completion for bash or zsh"),
    },
    "prepare": {
        "calibrate": Command("toolkit.calibrate", "measure this machine as a device of scenarios"),
        "record_channel": Command("toolkit.record_channel", "write the links of a run, to be replayed"),
        "split_classes": Command("toolkit.split_classes", "split a COCO file into steps of classes"),
    },
}
COMMANDS: dict[str, Command] = {word: command for group in GROUPS.values() for word, command in group.items()}
