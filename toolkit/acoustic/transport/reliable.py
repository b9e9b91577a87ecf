"""Reliable messages: selective repeat, with receipts on the air."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Self, final

from pydantic import Field, model_validator

from toolkit.acoustic.answer_time import AnswerTime
from toolkit.acoustic.transport import Transport
from toolkit.acoustic.transport.messages import Courier, Message, Outgoing, Receipt, ReceiptRule
from toolkit.core.alarm import Alarm


@final
class Reliable(Transport):
    """Selective repeat: up to `window` fragments are under way from the first that is not answered; each has a time-out of its own.

    The receiver answers every `per_receipt` new fragments, the last one that was missing, one that came twice, and whatever came when it
    is quiet for `receipt_wait_s`, with a receipt of `RECEIPT_BYTES` and a bit per fragment of the window. Receipts are packets that are
    routed back, called ``receipt`` in the ledger. A time-out counts from when a fragment is handed to the routing protocol. Without
    `timeout_s` it is the smoothed time to an answer and four mean deviations (Jacobson 1988, with gains 1/8 and 1/4; fragments that were
    sent twice are not timed, Karn and Partridge 1987), and grows by `backoff` with every try, up to `longest_timeout_s`. One message of a
    sender to a receiver is under way at a time.

    What a sink tells many nodes alike is announced: each fragment is sent once for all of them, without a window, and sent again to those
    that do not answer for it.

    Without `tries` and `lifetime_s` a message is never given up. One that is, ends as lost: the receiver is told when it hears of a
    later one.
    """

    window: int = Field(8, ge=1, le=64, description="fragments under way at most")
    per_receipt: int = Field(4, ge=1, description="fragments that one receipt answers; at most the window")
    receipt_wait_s: float = Field(10.0, ge=0, description="quiet after which what came is answered all the same")
    timeout_s: float | None = Field(None, gt=0, description="time-out of a fragment; without it, as answers take")
    first_timeout_s: float = Field(60.0, gt=0, description="time-out before any answer has come")
    least_timeout_s: float = Field(5.0, gt=0, description="shortest time-out")
    longest_timeout_s: float = Field(1800.0, gt=0, description="longest time-out")
    backoff: float = Field(2.0, ge=1, le=10, description="factor by which a fragment's time-out grows with every try")
    tries: int | None = Field(None, ge=1, description="transmissions of a fragment after which its message is given up; none: no end")
    lifetime_s: float | None = Field(None, gt=0, description="age at which a message is given up; none: no end")

    @model_validator(mode="after")
    def _sane(self) -> Self:
        if self.per_receipt > self.window:
            raise ValueError(f"per_receipt: {self.per_receipt} fragments never come before an answer, with a window of {self.window}")
        if not self.least_timeout_s <= self.first_timeout_s <= self.longest_timeout_s:
            raise ValueError("first_timeout_s: must lie between least_timeout_s and longest_timeout_s")
        return self

    def waits_s(self) -> float:
        return 0.0  # a sender goes on only when it is done with a message

    def receipts(self) -> ReceiptRule:
        return ReceiptRule(self.per_receipt, self.receipt_wait_s, self.window)

    def outgoing(self, mail: Courier, src: int, dst: int) -> Outgoing:
        return SelectiveRepeat(self, mail, src, dst)


@dataclass(slots=True)
class UnderWay:
    """A fragment that was sent and not answered yet."""

    sent_s: float
    """When it was sent last."""
    due_s: float
    """When its time is out."""
    tries: int


class SelectiveRepeat(Outgoing):
    """Sends the messages of rank *src* to rank *dst*, one after the other."""

    def __init__(self, spec: Reliable, mail: Courier, src: int, dst: int) -> None:
        self.spec = spec
        self.mail = mail
        self.src, self.dst = src, dst
        self.under_way: dict[int, UnderWay] = {}
        self._queue: deque[Message] = deque()
        self._message: Message | None = None
        self._base = 0
        """First fragment that is not answered."""
        self._fresh = 0
        """First fragment that was never sent."""
        self._answered: set[int] = set()
        self._alarm = Alarm(mail.env, lambda _: self._look())
        self._alarm_s = float("inf")
        self._stopped = False
        self._answers = AnswerTime()

    def push(self, message: Message) -> None:
        if self._stopped:
            self.mail.lose(message, "dead")
            return
        self._queue.append(message)
        if self._message is None:
            self._begin()

    def join(self, message: Message) -> bool:
        if self._stopped or self._message is not None:
            return False
        self._queue.append(message)
        self._begin(announced=True)
        return True

    def take(self, receipt: Receipt) -> None:
        message = self._message
        if message is None or receipt.number != message.number:
            return
        timed = self.under_way.get(receipt.answers)
        if timed is not None and timed.tries == 1:
            self._answers.observe(self.mail.env.now - timed.sent_s)
        for index in [*range(self._base, receipt.before), *receipt.beyond]:
            self._answered.add(index)
            self.under_way.pop(index, None)
        while self._base in self._answered:
            self._base += 1
        if self._base >= message.count:
            self._end(message, "delivered", "")
        else:
            self._fill()

    def withdraw(self, message: Message) -> None:
        message.withdrawn = True
        if message is self._message:
            self._end(message, "lost", "withdrawn")
        elif message in self._queue:
            self._queue.remove(message)
            self.mail.end(message, "lost", "withdrawn")

    def stop(self) -> None:
        self._stopped = True
        waiting = [*([self._message] if self._message is not None else []), *self._queue]
        self._message = None
        self._queue.clear()
        self.under_way.clear()
        for message in waiting:
            self.mail.lose(message, "dead")

    def timeout_s(self, tries: int) -> float:
        """Return the time-out of a fragment that is sent for the *tries*-th time."""
        spec = self.spec
        if spec.timeout_s is not None:
            first_s = spec.timeout_s
        elif (longest_s := self._answers.longest_s) is None:
            first_s = spec.first_timeout_s
        else:
            first_s = max(spec.least_timeout_s, longest_s)
        return min(first_s * spec.backoff ** min(tries - 1, 60), max(first_s, spec.longest_timeout_s))

    def _begin(self, *, announced: bool = False) -> None:
        self._message = message = self._queue.popleft()
        self._base = self._fresh = 0
        self._answered.clear()
        self.under_way.clear()
        if self.spec.lifetime_s is not None:
            self._ring_at(message.begun_s + self.spec.lifetime_s)
        if announced:  # all fragments are on their way, as if each had been sent once
            self._fresh = message.count
            for index in range(message.count):
                self._note(index, 1)
        else:
            self._fill()

    def _fill(self) -> None:
        """Send what the window has room for."""
        message = self._message
        assert message is not None
        while self._fresh < min(message.count, self._base + self.spec.window):
            self._send(message, self._fresh, 1)
            self._fresh += 1

    def _send(self, message: Message, index: int, tries: int) -> None:
        self._note(index, tries)
        self.mail.send_fragment(message, index)

    def _note(self, index: int, tries: int) -> None:
        """Remember that a fragment is sent now, and when its time is out."""
        now = self.mail.env.now
        due_s = now + self.timeout_s(tries)
        self.under_way[index] = UnderWay(now, due_s, tries)
        self._ring_at(due_s)

    def _ring_at(self, t_s: float) -> None:
        if t_s < self._alarm_s:
            self._alarm_s = t_s
            self.mail.env.ring_at(t_s, self._alarm)

    def _look(self) -> None:
        """Send again whatever had its time, or give the message up."""
        self._alarm.rearm()
        message, now, spec = self._message, self.mail.env.now, self.spec
        if now < self._alarm_s:
            return  # it was set to an earlier time since, and has rung then
        self._alarm_s = float("inf")
        if message is None:
            return
        ends_s = message.begun_s + spec.lifetime_s if spec.lifetime_s is not None else float("inf")
        if now >= ends_s:
            self._end(message, "lost", "lifetime")
            return
        for index, one in [(index, one) for index, one in sorted(self.under_way.items()) if one.due_s <= now]:
            if spec.tries is not None and one.tries >= spec.tries:
                self._end(message, "lost", "retries")
                return
            self._send(message, index, one.tries + 1)
        if self._message is message:
            self._ring_at(min([ends_s, *(one.due_s for one in self.under_way.values())]))

    def _end(self, message: Message, outcome: str, reason: str) -> None:
        """Be done with the present message, and go on to the next."""
        self._message = None
        self.under_way.clear()
        if outcome == "lost" and reason != "withdrawn":
            self.mail.lose(message, reason)
        else:
            self.mail.end(message, outcome, reason)
        if self._queue and self._message is None:
            self._begin()
