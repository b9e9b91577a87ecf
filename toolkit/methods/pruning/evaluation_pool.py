"""Evaluations farmed out: rank 0 hands out masks, the others evaluate them, each at the speed of its machine.

In synchronous form a generation is handed out and waited for; with `static` dispatch every worker gets the same number at once, with
`queue` whoever has answered gets the next. In asynchronous form there are no generations: every answer goes into the population at once
and a new child comes back, `in_flight` of them per worker so that the wire is hidden. The masks of the synchronous form do not depend on
how many workers there are, nor on how fast; those of the asynchronous form do.

A lost worker's masks are given to others; all weights are sent again, since what was under way is gone with the old group.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any, Literal, cast

import numpy as np
import torch

from toolkit.core.context import Asking, Context, PeerLost
from toolkit.core.work import Work
from toolkit.learning.genetic.genome import Mask
from toolkit.learning.pruning.rebuild import rebuild
from toolkit.methods.pruning import Chooser, SteadyChooser
from toolkit.methods.pruning.messages import (
    ANSWER,
    EVALUATE,
    ROUND,
    STOP,
    Evaluated,
    load_weights,
    order_nbytes,
    pack_answer,
    pack_order,
    unpack_answer,
    unpack_order,
    weights_like,
    weights_of,
)
from toolkit.methods.pruning.parallel import wrong_in_processes
from toolkit.methods.pruning.problem import PEEK, Numbers, Problem, SampleSets, Whole

FLOPS_PER_BIT = 30.0
"""What choosing, crossing, mutating and packing one bit of a child is taken to cost."""


@dataclass
class EvaluationPool:
    """Rank 0's side."""

    ctx: Context
    whole: Whole
    dispatch: Literal["static", "queue"]
    in_flight: int
    processes: int = 1
    early_reject: bool = False
    problem: Problem | None = None
    alive: np.ndarray[tuple[int], np.dtype[np.int64]] = field(default_factory=lambda: np.zeros(0, np.int64))
    """For every bit of the present problem, the unit of the whole network that it stands for."""
    kept: Mask = field(default_factory=lambda: np.zeros(0, bool))
    """Units of the whole network that the present one has."""
    serial: dict[int, int] = field(default_factory=dict)
    rejected: int = 0

    def begin(self, problem: Problem, alive: np.ndarray[tuple[int], np.dtype[np.int64]], kept: Mask) -> Asking:
        """Send the present network to every worker, and wait until it is there."""
        self.problem, self.alive, self.kept = problem, alive, kept
        while True:
            try:
                return (yield from self._send_network())
            except PeerLost as lost:
                yield from wait_for_the_group(self.ctx, lost)

    def _send_network(self) -> Asking:
        weights = weights_of(self._problem().model)
        under_way = []
        for rank in range(1, self.ctx.size):
            self._order(rank, ROUND, self.kept)
            under_way.append(self.ctx.send(rank, weights.nbytes, "weights", weights))
            self.serial[rank] = 0
        while under_way:
            yield under_way.pop(0)

    def stop(self) -> None:
        """Send everybody home."""
        for rank in range(1, self.ctx.size):
            self._order(rank, STOP, self.kept)

    def search(self, chooser: Chooser) -> Asking:
        """Let *chooser* ask until it has no more questions."""
        while len(masks := chooser.ask()):
            yield self.ctx.compute(Work(FLOPS_PER_BIT * masks.size), "search")
            objectives = yield from self.evaluate(masks, chooser.threshold())
            chooser.tell(masks, objectives)

    def evaluate(self, masks: Mask, threshold: float = float("inf")) -> Asking:
        """Return the objectives (n, 3) of *masks*."""
        if self.ctx.size == 1:
            return (yield from self._alone(masks, threshold))
        answers: dict[int, Evaluated] = {}
        while len(answers) < len(masks):
            try:
                if self.ctx.size == 1:
                    left = [index for index in range(len(masks)) if index not in answers]
                    wrong = yield from self._one_by_one(masks[left])
                    answers |= {index: Evaluated(0, int(count), 0, 0) for index, count in zip(left, wrong, strict=True)}
                else:
                    yield from self._hand_out(masks, answers)
            except PeerLost as lost:
                yield from self._recover(lost)
        counts = np.array([answers[index].wrong for index in range(len(masks))], np.int64)
        return self._problem().objectives(masks, counts)

    def steady(self, chooser: SteadyChooser, evaluations: int) -> Asking:
        """Keep every worker busy with children until so many have been evaluated."""
        orders: list[Mask] = []
        """All masks given out, by number."""
        done: set[int] = set()
        while len(done) < evaluations:
            try:
                yield from self._keep_busy(chooser, evaluations, orders, done)
            except PeerLost as lost:
                yield from self._recover(lost)

    def _problem(self) -> Problem:
        assert self.problem is not None, "begin() comes first"
        return self.problem

    def _order(self, rank: int, kind: int, mask: Mask) -> None:
        order = pack_order(kind, mask)
        self.ctx.send(rank, order.nbytes, "mask", order)

    def _ask(self, rank: int, mask: Mask) -> None:
        whole = self.kept.copy()
        whole[self.alive] = mask
        self._order(rank, EVALUATE, whole)

    def _alone(self, masks: Mask, threshold: float) -> Asking:
        """Evaluate here: whole populations at once, in several processes where asked; those that cannot survive only on a few images."""
        problem = self._problem()
        first = PEEK if self.early_reject and np.isfinite(threshold) and problem.images > PEEK else None
        wrong = np.zeros(len(masks), np.int64)
        going = np.ones(len(masks), bool)
        if first is not None:
            peeked = problem.evaluator.wrong(masks, first)
            going = ~problem.rejected(masks, peeked, threshold)
            self.rejected += int((~going).sum())
        if going.any():
            wrong[going] = self._count(masks[going])
        for mask, whole in zip(masks, going.tolist(), strict=True):
            yield self.ctx.compute(problem.work(mask, problem.images if whole else PEEK), "evaluate")
        objectives = problem.objectives(masks, wrong)
        objectives[~going, 0] = np.inf
        return objectives

    def _count(self, masks: Mask) -> Numbers:
        problem = self._problem()
        if self.processes > 1:
            return wrong_in_processes(problem, masks, self.processes)
        return problem.evaluator.wrong(masks)

    def _one_by_one(self, masks: Mask) -> Asking:
        problem = self._problem()
        counts = []
        for mask in masks:
            counts.append(problem.mistakes(mask))
            yield self.ctx.compute(problem.work(mask, problem.images), "evaluate")
        return counts

    def _hand_out(self, masks: Mask, answers: dict[int, Evaluated]) -> Asking:
        """Give out what is not answered yet, and fill in *answers* as they come."""
        ctx = self.ctx
        todo = deque(index for index in range(len(masks)) if index not in answers)
        ranks = range(1, ctx.size)
        given: dict[int, deque[int]] = {rank: deque() for rank in ranks}
        if self.dispatch == "static":
            for place, index in enumerate(todo):
                given[1 + place % len(ranks)].append(index)
                self._ask(1 + place % len(ranks), masks[index])
            todo.clear()
        else:
            for rank in [rank for _ in range(self.in_flight) for rank in ranks]:
                if todo:
                    given[rank].append(todo.popleft())
                    self._ask(rank, masks[given[rank][-1]])
        waiting = {rank: ctx.recv(rank, ANSWER) for rank in ranks if given[rank]}
        while waiting:
            order = list(waiting)
            place, payload = yield ctx.wait_any([waiting[rank] for rank in order])
            rank = order[place]
            answers[given[rank].popleft()] = self._heard(rank, payload)
            if todo:
                given[rank].append(todo.popleft())
                self._ask(rank, masks[given[rank][-1]])
            if given[rank]:
                waiting[rank] = ctx.recv(rank, ANSWER)
            else:
                del waiting[rank]

    def _keep_busy(self, chooser: SteadyChooser, evaluations: int, orders: list[Mask], done: set[int]) -> Asking:
        ctx, problem = self.ctx, self._problem()
        ranks = range(1, ctx.size)
        again = deque(index for index in range(len(orders)) if index not in done)
        given: dict[int, deque[int]] = {rank: deque() for rank in ranks}

        def give(rank: int) -> None:
            if again:
                index = again.popleft()
            elif len(orders) < evaluations:
                index = len(orders)
                orders.append(chooser.spawn())
            else:
                return
            given[rank].append(index)
            self._ask(rank, orders[index])

        for rank in [rank for _ in range(self.in_flight) for rank in ranks]:
            give(rank)
        waiting = {rank: ctx.recv(rank, ANSWER) for rank in ranks if given[rank]}
        while waiting:
            order = list(waiting)
            place, payload = yield ctx.wait_any([waiting[rank] for rank in order])
            rank = order[place]
            index = given[rank].popleft()
            answer = self._heard(rank, payload)
            chooser.insert(orders[index], problem.objectives(orders[index][None], np.array([answer.wrong]))[0])
            done.add(index)
            ctx.compute(Work(FLOPS_PER_BIT * len(orders[index])), "search")
            give(rank)
            if given[rank]:
                waiting[rank] = ctx.recv(rank, ANSWER)
            else:
                del waiting[rank]
        if ctx.size == 1:
            for index in [*again, *range(len(orders), evaluations)]:
                if index == len(orders):
                    orders.append(chooser.spawn())
                (wrong,) = yield from self._one_by_one(orders[index][None])
                chooser.insert(orders[index], problem.objectives(orders[index][None], np.array([wrong]))[0])
                done.add(index)

    def _heard(self, rank: int, payload: Any) -> Evaluated:
        answer = unpack_answer(payload)
        assert answer.serial == self.serial[rank], "answers come in the order of the questions"
        self.serial[rank] += 1
        return answer

    def _recover(self, lost: PeerLost) -> Asking:
        """Wait until the new group stands, and send everybody the network again."""
        yield from wait_for_the_group(self.ctx, lost)
        self.ctx.metric("recovered", 1.0, who=str(lost.node))
        yield from self.begin(self._problem(), self.alive, self.kept)


def serve(ctx: Context, samples: SampleSets, whole: Whole, build: Any) -> Asking:
    """A worker: take networks and masks from rank 0, and answer with mistakes, multiply-adds and parameters.

    *build* makes the problem of a network, as rank 0 does, but for what only choosing needs.
    """
    units = whole.groups.units
    like = torch.empty(order_nbytes(units), dtype=torch.uint8)
    problem: Problem | None = None
    kept = whole.groups.dense()
    serial = 0
    while True:
        try:
            kind, mask = unpack_order((yield ctx.recv(0, like)), units)
            if kind == STOP:
                return
            if kind == ROUND:
                kept, serial = mask, 0
                model = rebuild(whole.model, whole.groups, mask)
                load_weights(model, (yield ctx.recv(0, weights_like(model))))
                problem = cast(Problem, build(model, samples, whole))
                continue
            assert problem is not None, "a network comes before masks"
            here = mask[kept]
            wrong = problem.mistakes(here)
            yield ctx.compute(problem.work(here, problem.images), "evaluate")
            answer = Evaluated(serial, wrong, int(problem.costs.macs(here)[0][0]), int(problem.costs.params(here)[0]))
            ctx.send(0, ANSWER.nbytes, "objectives", pack_answer(answer))
            serial += 1
        except PeerLost as lost:
            yield from wait_for_the_group(ctx, lost)


def wait_for_the_group(ctx: Context, lost: PeerLost) -> Asking:
    """Sleep until the group without the lost one stands, however many more are lost meanwhile."""
    restart: PeerLost | None = lost
    while restart is not None:
        try:
            yield ctx.sleep(restart.restart_s)
            restart = None
        except PeerLost as another:
            restart = another
