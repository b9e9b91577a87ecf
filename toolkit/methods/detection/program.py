"""Incremental detection on one machine: a first detector, then increments that are learnt without the old images."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import final

import torch

from toolkit.core.context import Asking, Context
from toolkit.core.fabric import Fabric
from toolkit.core.machines import Needs
from toolkit.core.program import Estimate, Process, Program
from toolkit.core.work import FLOAT_BYTES, Work
from toolkit.learning.detection import evaluate, predict
from toolkit.learning.detection.inversion import Generated
from toolkit.learning.detection.pasting import Pool
from toolkit.learning.detection.prediction import Found
from toolkit.learning.random import torch_generator
from toolkit.methods.accelerator import accelerator
from toolkit.methods.detection.costs import Plan, Step, planned
from toolkit.methods.detection.course import Course, course, histograms, joined_pools, noise_objects, real_crops
from toolkit.methods.detection.increment import Increments, IncrementTrainer, no_objects
from toolkit.methods.detection.kept import hand_out, pictures
from toolkit.methods.detection.prepared import first_detector, inverted, joint_detector, network
from toolkit.methods.detection.spec import DetectionSettings
from toolkit.methods.loop import training_loop
from toolkit.models.detection.detector import Detector

ITERATIONS_PER_CHARGE = 50
QUALITY = ("AP", "AP50", "AP75", "APsmall", "APmedium", "APlarge")


@final
class Detection(DetectionSettings, Program):
    """One machine learns to detect classes in steps; after each it is examined on the whole test set, over the classes seen so far.

    The first detector is common to all arms of a seed and charged as computed here. Before each increment the old detector makes old
    objects, where the method asks for them, either while the device waits for new images or when they are there. Every step is charged
    by what its code asks of tensors without values; examinations cost nothing. What is kept of old classes between steps is written to
    storage and read from it: histograms of shapes, or crops. A killed run goes on from where it was last saved.
    """

    def needs(self) -> Needs:
        return Needs("incremental detection", workers=(1, 1))

    def settings(self) -> DetectionSettings:
        """These settings alone, by which plans are known."""
        return DetectionSettings(**{name: getattr(self, name) for name in DetectionSettings.model_fields})

    def check(self, fabric: Fabric) -> None:
        accelerator(self.accelerator)
        needed = planned(self.settings()).memory_bytes()
        what = f"{self.net.backbone} detector with {self.method.type_name()} at batch {self.training.batch}"
        fabric.machines().check_memory(needed, what)

    def estimate(self, fabric: Fabric) -> Estimate | None:
        """The sum of all charges; the device waits for images and generates side by side where that is done while it is idle."""
        device, plan = fabric.machines().first, planned(self.settings())
        works = [*plan_works(plan.base())]
        time_s = busy_s = sum(device.duration_s(work, "base") * times for work, times in works)
        stored_s = kept = 0.0
        for number in plan.increments:
            made, step = plan.generation(number), plan.increment(number)
            generating = [] if made is None else list(portions(*made))
            training = list(plan_works(step))
            generating_s = sum(device.duration_s(work, "generate") * times for work, times in generating)
            training_s = sum(device.duration_s(work, "train") * times for work, times in training)
            idle_s = self.arrival.idle_s
            time_s += training_s + (max(idle_s, generating_s) if self.arrival.generate == "idle" else idle_s + generating_s)
            busy_s += generating_s + training_s
            works += generating + training
            written, read = plan.kept_bytes(number - 1), sum(plan.kept_bytes(step) for step in range(number))
            stored_s += device.storage_s(read, written)
            kept = max(kept, read)
        energy_j = busy_s * device.busy_w + (time_s + stored_s - busy_s) * device.idle_w + stored_s * device.storage_w
        return Estimate(
            sum(work.flops * times for work, times in works), sum((work.read_bytes + work.write_bytes) * times for work, times in works),
            0.0, plan.memory_bytes(), kept, time_s + stored_s, energy_j,
        )

    # Running

    def run(self, ctx: Context) -> Process:
        torch.set_num_threads(self.threads)
        plan, found = planned(self.settings()), course(self.data, self.split)
        if self.method.sees_all:
            yield from self._jointly(ctx, plan, found)
            return
        state = Increments(self.method, self.training.rule, found.sizes, self._first_detector(ctx, found))
        saved = ctx.saved()
        if saved is not None:
            state.load_state_dict(saved)
        else:
            yield from self._first(ctx, plan, found, state)
        for number in range(state.number, len(found.sizes)):
            if state.training is None:
                yield from self._get_ready(ctx, plan, found, state)
            yield from self._learn(ctx, plan.increment(number), found, state)

    def _first_detector(self, ctx: Context, found: Course) -> Detector:
        """Return the first detector, trained; where nothing is learnt, or a run goes on that has it already, with any weights."""
        if not self.learn or ctx.saved() is not None:
            detector = network(self.net, found.sizes[0], torch.Generator().manual_seed(0))
        else:
            detector = copy.deepcopy(first_detector(self.data, self.split, self.net, self.base, self._base_seed(ctx), self._place(ctx)))
        return detector.to(self._place(ctx)).eval()

    def _place(self, ctx: Context) -> str:
        """Where torch computes: as these settings say, or as real processes do."""
        return str(accelerator(self.accelerator)) if self.accelerator != "cpu" else ctx.accelerator

    def _base_seed(self, ctx: Context) -> int:
        return self.base.seed if self.base.seed is not None else int(ctx.shared_rng("base").integers(2**31))

    def _first(self, ctx: Context, plan: Plan, found: Course, state: Increments) -> Asking:
        """Charge the first training, and be examined."""
        yield from _charged(ctx, plan.base(), "base")
        self._record_sizes(ctx, plan, found)
        if self.learn:
            state.before = self._examine(ctx, found, state.student, 0)[: self.pictures]
        state.number = 1
        self._save(ctx, state)

    def _record_sizes(self, ctx: Context, plan: Plan, found: Course) -> None:
        for name, value in (
            ("parameters", plan.parameters(len(found.sizes) - 1)), ("dropped_images", found.dropped),
            ("memory_nbytes", plan.memory_bytes()), ("idle_s", self.arrival.idle_s),
        ):
            ctx.metric(name, value)

    def _jointly(self, ctx: Context, plan: Plan, found: Course) -> Asking:
        """Learn all classes at once."""
        yield from _charged(ctx, plan.base(), "joint")
        self._record_sizes(ctx, plan, found)
        if self.learn:
            seed = self._base_seed(ctx)
            detector = joint_detector(self.data, self.split, self.net, self.base, seed, self._place(ctx))
            answers = self._examine(ctx, found, detector, len(found.sizes) - 1)[: self.pictures]
            hand_out(ctx, detector, self.net, [sum(found.sizes)], found.test, shown=pictures(found.test, answers, answers, None))

    def _save(self, ctx: Context, state: Increments) -> None:
        if self.learn:
            ctx.save(state.total_steps, state.state_dict())

    def _get_ready(self, ctx: Context, plan: Plan, found: Course, state: Increments) -> Asking:
        """Keep what is kept of the last step's classes, generate, wait for new images, and widen the detector."""
        number = state.number
        yield from self._keep(ctx, plan, found, state)
        ctx.metric("idle", float(number), step=number)
        arrival = ctx.sleep(self.arrival.idle_s)
        if self.arrival.generate == "arrival":
            yield arrival
        made, generated = plan.generation(number), None
        if made is not None:
            for work, times in portions(*made):
                for _ in range(times):
                    yield ctx.compute(work, "generate")
            if self.learn:
                generated = self._generated(ctx, state)
                ctx.metric("recognised", generated.recognised, step=number)
        if self.arrival.generate == "idle":
            yield arrival
        if self.learn:
            pool = self._pool(ctx, state, generated)
            ctx.metric("pool_nbytes", pool.nbytes, step=number)
            state.begin(pool, generated, torch_generator(ctx.shared_rng("widen", number)))
        teacher_nbytes = FLOAT_BYTES * plan.parameters(number - 1) if self.method.teaches else 0
        ctx.metric("teacher_nbytes", teacher_nbytes, step=number)

    def _keep(self, ctx: Context, plan: Plan, found: Course, state: Increments) -> Asking:
        """Write what is kept of the last step's classes, and read what is kept of all; the images themselves are gone from now on."""
        number = state.number
        written, read = plan.kept_bytes(number - 1), sum(plan.kept_bytes(step) for step in range(number))
        own = found.classes(number - 1)
        if self.method.source == "real":
            state.crops.append(real_crops(found.steps[number - 1], own, self.crops_per_class, self.data.seed))
        elif self.method.source != "none":
            state.shapes += histograms(found.steps[number - 1], own)
        if read:
            yield ctx.store(0, written, "kept")
            yield ctx.store(read, 0, "kept")
        ctx.metric("kept_nbytes", read, step=number)
        ctx.metric("given_away", sum(map(len, state.crops)), step=number)

    def _generated(self, ctx: Context, state: Increments) -> Generated:
        seed = int(ctx.shared_rng("inversion", state.number).integers(2**31))
        return inverted(state.student, state.shapes, self.inversion.recipe(), seed, self.inversion.at_once)

    def _pool(self, ctx: Context, state: Increments, generated: Generated | None) -> Pool:
        if self.method.source == "real":
            return joined_pools(state.crops)
        if generated is not None:
            return generated.pool()
        if self.method.source == "noise":
            return noise_objects(state.shapes, self.inversion.recipe(), ctx.shared_rng("noise", state.number))
        return no_objects()

    def _learn(self, ctx: Context, planned_steps: tuple[Step, int], found: Course, state: Increments) -> Asking:
        """Learn an increment, be examined, and leave what came out after the last."""
        number = state.number
        step, times = planned_steps
        if not self.learn:
            yield from _charged(ctx, planned_steps, "train")
            ctx.metric("trained", float(number), step=number)
            state.number += 1
            return
        trainer = IncrementTrainer(
            self.settings(), ctx, state, found.without_old(number).steps[number], work=step.work, steps=times,
            share=number / len(found.sizes),
        )
        yield from training_loop(ctx, state, trainer, steps=times, evaluate_every=None, save_every=self.save_every)
        ctx.metric("trained", float(number), step=number)
        state.finish()
        after = self._examine(ctx, found, state.student, number)[: self.pictures]
        if state.number == len(found.sizes):
            shown = pictures(found.test, state.before, after, state.generated)
            hand_out(ctx, state.student, self.net, found.sizes, found.test, shown=shown)
        self._save(ctx, state)

    def _examine(self, ctx: Context, found: Course, detector: Detector, step: int) -> list[Found]:
        """Record AP over the classes seen so far, of old and new ones among them, and of each; return what was found."""
        test, seen = found.test, found.seen(step)
        answers = predict(detector, test.images)
        ids, first = test.ids[:seen], found.sizes[0]
        truth = (test.originals or test.annotations).with_categories(ids)
        before = found.seen(step - 1) if step else 0
        groups = {"all": ids, "base": ids[:first], "new": ids[before:], "old": ids[:before]}
        values = evaluate(truth, test.results(answers), groups=groups)
        for group, row in values["groups"].items():
            for name in QUALITY:
                if row[name] >= 0:
                    ctx.metric(name, row[name], who=group, step=step)
        for name, row in values["per_class"].items():
            ctx.metric("AP_class", row["AP"], who=name, step=step)
        return answers


def plan_works(planned_steps: tuple[Step, int]) -> Iterator[tuple[Work, int]]:
    """Yield the work of steps, and how often it is asked for."""
    step, times = planned_steps
    yield step.work, times


def portions(step: Step, times: int) -> Iterator[tuple[Work, int]]:
    """Yield works of fifty iterations each, and of what is left over, and how often each is asked for."""
    whole, rest = divmod(times, ITERATIONS_PER_CHARGE)
    every = step.work._replace(launches=step.work.launches + 1)
    for size, count in ((ITERATIONS_PER_CHARGE, whole), (rest, 1)):
        if size and count:
            yield every.times(size).beyond_first(), count


def _charged(ctx: Context, planned_steps: tuple[Step, int], phase: str) -> Asking:
    step, times = planned_steps
    for _ in range(times):
        yield ctx.compute(step.work, phase)
