"""Putting messages together: the fragments of one sender at one receiver, handed over whole and in order."""

from __future__ import annotations

from collections import deque
from typing import Any

from simpy.events import Event

from toolkit.acoustic.transport.messages import Courier, Fragment, Message, Receipt, ReceiptRule
from toolkit.core.context import Torn


class Assembly:
    """A message of which something has come."""

    def __init__(self, message: Message, now_s: float) -> None:
        self.message = message
        self.came: set[int] = set()
        self.last_s = now_s
        """When the latest fragment came."""
        self.unanswered = 0
        """Fragments that came since the last receipt."""

    @property
    def whole(self) -> bool:
        return len(self.came) == self.message.count


class Incoming:
    """The messages of rank *src* at rank *dst*."""

    def __init__(self, mail: Courier, src: int, dst: int, *, rule: ReceiptRule | None, waits_s: float) -> None:
        """*rule* says when to answer; *waits_s* is how long the rest of a message may take once its sender has gone on to another."""
        self.mail = mail
        self.src, self.dst = src, dst
        self.next = 0
        """Number of the message that is handed over next."""
        self.claims: deque[Event] = deque()
        self._rule, self._waits_s = rule, waits_s
        self._open: dict[int, Assembly] = {}
        self._closed: dict[int, Any] = {}
        """Messages that are done with, and wait for those before them."""
        self._items: deque[Any] = deque()
        self._last_whole: Message | None = None
        self._newest = -1

    def claim(self) -> Event:
        """Return the event of the next message that nobody has asked for yet."""
        event = self.mail.env.event()
        if self._items:
            event.succeed(self._items.popleft())
        else:
            self.claims.append(event)
        return event

    def take(self, fragment: Fragment) -> None:
        """A fragment has come."""
        message, now = fragment.message, self.mail.env.now
        number = message.number
        if number < self.next or number in self._closed:
            if self._last_whole is message:  # the sender has not heard that all of it is here
                self._answer(message, set(range(message.count)), fragment.place)
            return
        if number > self._newest:
            for older in range(max(self.next, self._newest), number):
                self._doubt(older)
            self._newest = number
        assembly = self._open.setdefault(number, Assembly(message, now))
        again = fragment.place in assembly.came
        assembly.came.add(fragment.place)
        assembly.last_s = now
        assembly.unanswered += 1
        if assembly.whole:
            del self._open[number]
            self._last_whole = message
            self._answer(message, assembly.came, fragment.place)
            self.mail.tell(message, "delivered")
            self._close(number, message.payload)
        elif self._rule is not None and (again or assembly.unanswered >= self._rule.per_receipt):
            self._receipt(assembly, fragment.place)
        elif self._rule is not None:
            self._answer_later(assembly, fragment.place, self._rule.wait_s)

    def _doubt(self, number: int) -> None:
        """The sender has gone on to a later message: what does not come within the patience never will."""
        if number in self._closed or number < self.next:
            return
        if self._waits_s > 0.0:
            self.mail.env.call_in(self._waits_s, lambda _: self._give_up(number))
        else:
            self._give_up(number)

    def _give_up(self, number: int) -> None:
        if number in self._closed or number < self.next:
            return
        assembly = self._open.get(number)
        left_s = self._waits_s - (self.mail.env.now - assembly.last_s) if assembly is not None else 0.0
        if left_s > 1e-9:
            self.mail.env.call_in(left_s, lambda _: self._give_up(number))
            return
        self._open.pop(number, None)
        if assembly is None:
            self._close(number, Torn(0, ()))
        else:
            self.mail.tell(assembly.message, "torn")
            self._close(number, assembly.message.torn(assembly.came))

    def _close(self, number: int, item: Any) -> None:
        """A message is done with; hand over all that can be in order."""
        self._closed[number] = item
        while self.next in self._closed:
            item = self._closed.pop(self.next)
            self.next += 1
            if self.claims:
                self.claims.popleft().succeed(item)
            else:
                self._items.append(item)

    def _answer_later(self, assembly: Assembly, index: int, wait_s: float) -> None:
        """Send a receipt once nothing has come for a while."""
        since_s = assembly.last_s

        def look(_: object) -> None:
            if assembly.last_s == since_s and assembly.unanswered and assembly.message.number in self._open:
                self._receipt(assembly, index)

        self.mail.env.call_in(wait_s, look)

    def _receipt(self, assembly: Assembly, index: int) -> None:
        assembly.unanswered = 0
        self._answer(assembly.message, assembly.came, index)

    def _answer(self, message: Message, came: set[int], index: int) -> None:
        rule = self._rule
        if rule is None:
            return
        before = next(place for place in range(message.count + 1) if place not in came)
        beyond = frozenset(place for place in came if before < place < before + rule.window)
        self.mail.send_receipt(Receipt(self.src, self.dst, message.number, before, beyond, index), rule.window)
