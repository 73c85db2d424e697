"""From delivery to ack: walks each job through its states (docs/state_machine.md)."""

import asyncio
import functools
import itertools
import traceback
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from longshore.amqp.errors import words
from longshore.amqp.publisher import Publisher
from longshore.contract.message import ATTEMPT, Message, Undecodable, decode
from longshore.contract.timing import REQUEUE_GRACE
from longshore.logs import Log
from longshore.worker.parent.broker.subscription import Delivery
from longshore.worker.parent.children.pool import Pool, PoolListener
from longshore.worker.parent.children.states import Kill
from longshore.worker.parent.intake.flow import View
from longshore.worker.parent.jobs import outgoing, plain
from longshore.worker.parent.jobs.losses import Key, Losses
from longshore.worker.parent.jobs.observer import NOTHING, JobObserver
from longshore.worker.parent.jobs.outcome import Death, Judge, Outcome, Verdict
from longshore.worker.parent.jobs.work import Work
from longshore.worker.wire.frames import Cause, Ended, Status

log = Log("longshore.jobs")

SUCCEEDED = Verdict(outcome=Outcome.SUCCEEDED)


class Dispatch:
    """Hands deliveries to children and settles what comes of them. `observers` hear of each job.

    `pool` makes the pool of children for a listener. Each of `on_change` is called whenever jobs
    have come or gone.
    """

    def __init__(
        self,
        *,
        pool: Callable[[PoolListener], Pool],
        publisher: Publisher,
        judge: Judge,
        losses: Losses,
        observers: Sequence[JobObserver],
        new_id: Callable[[], str],
        on_change: Sequence[Callable[[], None]],
    ) -> None:
        self.draining = False
        """Nothing more is handed to children."""

        self._publisher = publisher
        self._judge = judge
        self._losses = losses
        self._observers = observers
        self._new_id = new_id
        self._on_change = on_change
        self._waiting: deque[Work] = deque()
        self._running: dict[int, Work] = {}
        """By ticket: handed to a child and not yet ended."""

        self._settling: dict[asyncio.Task[None], Delivery] = {}
        self._tickets = itertools.count(1)
        self._loop = asyncio.get_running_loop()
        self._quiet = asyncio.Event()
        self._is_returning = False
        """Nobody consumes any more: what still arrives goes back at once."""

        # Each needs the other, so one makes the other. A pool calls nobody before it has children.
        self.pool = pool(self)

    @property
    def held(self) -> int:
        """Jobs delivered and not yet settled."""
        return len(self._waiting) + len(self._running) + len(self._settling)

    # For `Flow`

    def view(self) -> View:
        """How it stands with what is held."""
        return View(
            mean=self.pool.pace.mean,
            is_stuck=bool(self._waiting) and self.pool.is_stuck(),
            taken=sum(not work.delivery.subscription.is_current for work in self._running.values()),
            before=sum(
                not work.delivery.subscription.is_current
                for work in (*self._running.values(), *self._waiting)
            ),
        )

    def give_back_waiting(self) -> None:
        """Return to the broker what no child has begun."""
        back, self._waiting = [*self._waiting], deque()
        self._give_back(back)

    # From the broker

    def on_deliveries(self, deliveries: list[Delivery]) -> None:
        """Jobs have arrived, or things that should have been jobs."""
        for delivery in deliveries:
            try:
                if work := self._work(delivery):
                    self._waiting.append(work)
            # It would end the connection: the job would return and end the next one.
            except Exception as error:
                self._bury_unforeseen(delivery, error)
        if self._is_returning:
            self.give_back_waiting()
        else:
            # What is given back while we consume is ours again at once: a drain keeps it till then.
            self.on_room()

    def _work(self, delivery: Delivery) -> Work | None:
        """The job in `delivery`; where there is none that may run, it is settled."""
        message = plain.read(delivery.header, delivery.body) or self._decode(delivery)
        if message is None:
            return None
        if message.lost:
            attempts = self._losses.attempts(message, _key(delivery))
            message = replace(message, attempt=message.attempt + attempts)
        limits = self._judge.limits(message.handler)
        work = Work(
            ticket=next(self._tickets),
            delivery=delivery,
            message=message,
            max_attempts=limits.max_attempts,
            hard_limit=limits.hard_limit,
            soft_limit=limits.soft_limit,
        )
        verdict = None if self.draining else self._judge.before(message)
        if verdict:
            self._settle(delivery, verdict, work=work)
            return None
        return work

    def _decode(self, delivery: Delivery) -> Message | None:
        if delivery.fault:
            self._bury_undecodable(delivery, delivery.fault)
            return None
        try:
            return decode(
                delivery.properties,
                delivery.body,
                new_id=self._new_id,
                now=self._judge.now,
                is_counted=delivery.is_counted,
            )
        except Undecodable as error:
            self._bury_undecodable(delivery, str(error))
        return None

    def _bury_undecodable(self, delivery: Delivery, error: str) -> None:
        verdict = self._judge.undecodable(delivery.original, delivery.body, error=error)
        fields = {"job": delivery.properties.message_id}
        self._settle(delivery, verdict, work=None, fields=fields)

    def _bury_unforeseen(self, delivery: Delivery, error: Exception) -> None:
        """Whatever it was that failed over `delivery`, it is not tried again."""
        said = words(error)
        lines = traceback.format_exception(error)
        log.error("delivery-failed", error=said, traceback="".join(lines)[-4096:])
        try:
            self._bury_undecodable(delivery, said)
        except Exception:
            verdict = self._judge.bare(delivery.header, delivery.body, error=said)
            self._settle(delivery, verdict, work=None)

    def _decided(self, delivery: Delivery, decide: Callable[[], Verdict]) -> Verdict:
        return outgoing.decided(decide, delivery, judge=self._judge)

    def on_void(self, deliveries: list[Delivery]) -> None:
        """The broker has taken these back: nothing about them counts any more."""
        gone = set(map(id, deliveries))
        self._waiting = deque(work for work in self._waiting if id(work.delivery) not in gone)
        for work in self.pool.take_back():
            del self._running[work.ticket]
            if work.delivery.void is None:
                self._waiting.appendleft(work)
        begun = set(map(id, self._settling.values()))
        for work in self._running.values():
            begun.add(id(work.delivery))
            if id(work.delivery) in gone:
                self.pool.interrupt(work, Cause.DELIVERY_LOST)
        for delivery in deliveries:
            self._losses.note(_key(delivery), begun=id(delivery) in begun)
        for task, delivery in self._settling.items():
            if delivery.void:
                # It may wait for a broker that is away for long.
                task.cancel()
        self._changed()

    # From the children

    def on_room(self) -> None:
        """Hand out what waits, as far as there is room."""
        waiting = self._waiting
        now = self._judge.now()
        while waiting and not self.draining:
            work = waiting[0]
            try:
                if work.message.expires_at and (verdict := self._judge.before(work.message)):
                    waiting.popleft()
                    self._settle(work.delivery, verdict, work=work)
                    continue
                if not self.pool.hand(work):
                    break
            except Exception as error:  # headers that no child can be given, for instance
                waiting.popleft()
                self._bury_unforeseen(work.delivery, error)
                continue
            waiting.popleft()
            self._running[work.ticket] = work
            waited = None
            # A delay is no wait: of jobs that had one, nothing tells when they came into the queue.
            if work.message.attempt == 1 and not work.message.was_delayed:
                waited = max(0.0, (now - work.message.enqueued_at) / 1000)
            for each in self._observers:
                each.started(work, waited=waited)
        self._changed()

    def on_ended(self, work: Work, ended: Ended) -> None:
        """The child has reported the end of `work`."""
        del self._running[work.ticket]
        for each in self._observers:
            each.ended(work, seconds=ended.seconds)
        if ended.status is Status.SUCCEEDED and work.delivery.void is None:
            work.delivery.subscription.ack(work.delivery, may_wait=bool(self._waiting))
            for each in self._observers:
                each.settled(SUCCEEDED, work, ended.seconds, NOTHING)
            return
        if ended.status is Status.INTERRUPTED and self.draining:
            self._give_back([work])
            return
        verdict = self._decided(
            work.delivery,
            lambda: self._judge.after(work.message, ended, original=work.delivery.original),
        )
        self._settle(work.delivery, verdict, work=work, seconds=ended.seconds)

    def on_death(self, work: Work, death: Death, *, seconds: float) -> None:
        """The child died in the middle of `work`, and nothing of it is left."""
        del self._running[work.ticket]
        for each in self._observers:
            each.ended(work, seconds=seconds)
        verdict = self._decided(work.delivery, lambda: self._judge.after_death(work.message, death))
        fields = {"death": death.reason, "pid": death.pid}
        self._settle(work.delivery, verdict, work=work, seconds=seconds, fields=fields)

    def on_taken_back(self, works: list[Work]) -> None:
        """These were never begun, or the worker's own end cut them short: nobody is charged."""
        for work in works:
            del self._running[work.ticket]
        if self._is_returning:
            self._give_back(works)
            return
        self._waiting.extendleft(work for work in reversed(works) if not work.delivery.void)
        self.on_room()

    def on_progress(self, work: Work, value: object) -> None:
        """The handler told how far it is."""
        for each in self._observers:
            each.progressed(work, value)

    # The end

    def stop_handing_out(self) -> None:
        """Keep what arrives from here on: the worker is about to drain."""
        self.draining = True

    def start_draining(self, *, requeue: bool) -> None:
        """Give back what has not begun; let the rest end, or with `requeue` ask it to."""
        self.draining = self._is_returning = True
        back, self._waiting = [*self._waiting], deque()
        for work in self.pool.take_back():
            del self._running[work.ticket]
            back.append(work)
        self._give_back(back)
        if requeue:
            for work in self._running.values():
                self.pool.interrupt(work, Cause.DRAINING)
            self._loop.call_later(REQUEUE_GRACE, self.pool.kill_running, Kill.DRAIN)
        self._changed()

    async def quiet(self) -> None:
        """Return when nothing is left that the broker waits for us to settle."""
        while self._is_busy():
            self._quiet.clear()
            await self._quiet.wait()

    def _is_busy(self) -> bool:
        running = (work.delivery for work in self._running.values())
        return any(not each.void for each in (*self._settling.values(), *running))

    # Settling

    def _give_back(self, works: list[Work]) -> None:
        for work in works:
            if not work.delivery.void and work.delivery.subscription.nack_is_free:
                work.delivery.subscription.give_back(work.delivery)
                self._tell(Verdict(outcome=Outcome.RETURNED), work=work)
            else:
                message = work.message
                verdict = self._decided(
                    work.delivery, functools.partial(self._judge.returned, message)
                )
                self._settle(work.delivery, verdict, work=work)

    def _settle(
        self,
        delivery: Delivery,
        verdict: Verdict,
        *,
        work: Work | None,
        seconds: float | None = None,
        fields: Mapping[str, Any] = NOTHING,
    ) -> None:
        tell = functools.partial(self._tell, work=work, seconds=seconds, fields=fields)
        if delivery.void:
            tell(Verdict(outcome=Outcome.VOID, error=delivery.void))
        elif verdict.publication:
            task = self._loop.create_task(self._publish_and_ack(delivery, verdict, tell=tell))
            self._settling[task] = delivery
            task.add_done_callback(self._on_settled)
        else:
            delivery.subscription.ack(delivery)
            tell(verdict)

    async def _publish_and_ack(
        self, delivery: Delivery, verdict: Verdict, *, tell: Callable[[Verdict], None]
    ) -> None:
        try:
            verdict = await outgoing.publish(
                verdict, delivery, publisher=self._publisher, judge=self._judge
            )
        except asyncio.CancelledError:
            if delivery.void is None:
                raise
        if delivery.void:
            verdict = Verdict(outcome=Outcome.VOID, error=delivery.void)
        else:
            delivery.subscription.ack(delivery)
        tell(verdict)

    def _on_settled(self, task: asyncio.Task[None]) -> None:
        del self._settling[task]
        if not task.cancelled() and (error := task.exception()):
            # The job stays unacked: it returns when the connection ends.
            log.error("settlement-failed", error=repr(error))
        self._changed()

    def _tell(
        self,
        verdict: Verdict,
        *,
        work: Work | None,
        seconds: float | None = None,
        fields: Mapping[str, Any] = NOTHING,
    ) -> None:
        for each in self._observers:
            each.settled(verdict, work, seconds, fields)
        self._changed()

    def _changed(self) -> None:
        if self.draining and not self._is_busy():
            self._quiet.set()
        for tell in self._on_change:
            tell()


def _key(delivery: Delivery) -> Key:
    """What a job is known by when it comes again."""
    properties = delivery.properties
    attempt = (properties.headers or {}).get(ATTEMPT, 1)
    # A foreign producer may give no id, or anything for an attempt.
    return str(properties.message_id or hash(delivery.body)), repr(attempt)
