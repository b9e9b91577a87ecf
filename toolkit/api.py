"""The front door from Python: a network and data at hand, learnt one task after the other, trained, or pruned, in one call.

    from toolkit import api
    result = api.learn(net, tasks, method="clfd", host="er")
    result.summary                # accuracy, and what it costs on the device
    result.network()              # the trained network
    print(result.scenario)        # the scenario that all this stands for

Each call writes a scenario of one arm and runs it with `toolkit.run`; nothing is done here that a scenario cannot say.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from toolkit.render.result import Result

Part = str | Mapping[str, Any]
"""A part as scenarios name it: ``"er"``, or ``{"type": "er", "reduction": "sum"}``."""


def learn(
    model: Any, tasks: Any, *, method: Part = "er", host: Part | None = None, split: int = 5, buffer: int | Mapping[str, Any] = 200,
    epochs: int = 1, device: str = "jetson_orin_nx", seeds: int = 1, out: str | Path | None = None, **settings: Any,
) -> Result:
    """Learn tasks one after the other; the report says what is known of all of them at the end.

    Args:
        model: an ``nn.Module``, a class or function that builds one, or a name or mapping as in a scenario.
        tasks: one data set, which is cut into tasks by its classes, or a list with one for each task. A data set is a name or mapping as
            in a scenario, a pair (images, labels) of arrays, a map-style torch dataset, or a pair of these for training and testing.
        method: a method of continual learning.
        host: what goes round it, where it is ``clfd``.
        split: tasks that one data set is cut into.
        buffer: samples in the replay memory, or all its settings.
        epochs: passes over each task.
        device: the machine that it is priced on.
        seeds: how often all is done, with other draws; the network given begins with its own weights each time.
        out: the run directory; a temporary folder without it.
        settings: other settings of the program by name (``lr=0.1``, ``batch=64``, ``augment={"flip": True}``).

    Raises:
        UserError: one sentence for whatever does not fit, a training that diverges included.
    """
    own: Part = method if host is None else {**_mapping(method), "host": host}
    stream: dict[str, Any] = {"tasks": split}
    if isinstance(tasks, list) and not _is_one_set(tasks):
        from toolkit.datasets.from_memory import stored_tasks

        dataset, classes = stored_tasks(tasks)
        stream = {"tasks": len(classes), "classes": classes}
        task: dict[str, Any] = {"dataset": dataset, "model": _model(model)}
    else:
        task = {"dataset": _dataset(tasks), "model": _model(model)}
    program = {
        "type": "continual", "task": task, "stream": stream, "method": own, "budget": {"epochs": epochs},
        "buffer": {"images": buffer, "equal": "samples"} if isinstance(buffer, int) else dict(buffer),
    }
    return _run("learn", program, settings, device=device, seeds=seeds, out=out)


def fit(
    model: Any, data: Any, *, recipe: Mapping[str, Any] | None = None, device: str = "jetson_orin_nx", seeds: int = 1,
    out: str | Path | None = None, **settings: Any,
) -> Result:
    """Train a network by a *recipe* (`toolkit.methods.training.recipe.Recipe`), then price its use; arguments else as in `learn`."""
    program = {"type": "training", "task": {"dataset": _dataset(data), "model": _model(model)}, "recipe": dict(recipe or {})}
    return _run("fit", program, settings, device=device, seeds=seeds, out=out)


def prune(
    model: Any, data: Any, *, keep: float = 0.2, method: Part = "genetic", device: str = "jetson_orin_nx", seeds: int = 1,
    out: str | Path | None = None, **settings: Any,
) -> Result:
    """Make a network small: train it, choose the filters and units that stay, fine-tune; arguments else as in `learn`.

    Args:
        model: as in `learn`; ``dense_epochs=0`` takes its weights as they are.
        data: one data set.
        keep: share of the parameters that may stay.
        method: what chooses.
    """
    from toolkit.errors import ScenarioError

    if not 0 < keep < 1:
        raise ScenarioError(f"keep: {keep:g} must be between 0 and 1, the share of parameters that may stay")
    program = {
        "type": "pruning", "task": {"dataset": _dataset(data), "model": _model(model)}, "pruner": method, "control": False,
        "target": {"removed": round(1 - keep, 12)},
    }
    return _run("prune", program, settings, device=device, seeds=seeds, out=out)


def _run(
    name: str, program: Mapping[str, Any], settings: Mapping[str, Any], *, device: str, seeds: int, out: str | Path | None
) -> Result:
    from toolkit.scenario import Scenario, replaced
    from toolkit.sweep import run

    tree: dict[str, Any] = {
        "name": name, "seeds": seeds, "fabric": {"type": "cluster", "workers": 1, "device": device}, "program": dict(program)
    }
    for key, value in settings.items():
        tree = replaced(tree, f"program.{key}", value)
    return run(Scenario.build(tree), out=out)


def _mapping(part: Part) -> dict[str, Any]:
    return {"type": part} if isinstance(part, str) else dict(part)


def _model(model: Any) -> Any:
    from toolkit.core.trust import trust_named
    from toolkit.given import give

    if isinstance(model, str):
        trust_named(model.partition(":")[0])
        return {"name": model}
    return dict(model) if isinstance(model, Mapping) else {"name": give(model)}


def _dataset(data: Any) -> Any:
    from toolkit.datasets.from_memory import stored

    return data if isinstance(data, str | Mapping) else stored(data)


def _is_one_set(tasks: list[Any]) -> bool:
    """Whether a list is a pair of arrays, or four of them, and not a list of tasks."""
    return len(tasks) in {2, 4} and all(hasattr(item, "shape") for item in tasks)
