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
from longshore.worker.parent.jobs.observer import NOTHING, JobObserver, Observers
from longshore.worker.parent.jobs.outcome import SUCCEEDED, Death, Judge, Outcome, Verdict
from longshore.worker.parent.jobs.work import Work
from longshore.worker.wire.frames import Cause, Ended, Status

log = Log("longshore.jobs")


class Dispatch:
    """Hands deliveries to children and settles them. `observers` are notified of each job.

    `pool` creates the pool of children for a listener. Each of `on_change` is called whenever jobs
    have arrived or left.
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
        """Whether to hand nothing more to children."""

        self._publisher = publisher
        self._judge = judge
        self._losses = losses
        self._observers = Observers(observers)
        self._new_id = new_id
        self._on_change = on_change
        self._waiting: deque[Work] = deque()
        self._settling: dict[asyncio.Task[None], Delivery] = {}
        self._tickets = itertools.count(1)
        self._loop = asyncio.get_running_loop()
        self._quiet = asyncio.Event()
        self._is_returning = False
        """Whether consuming has ended, so that whatever still arrives is returned at once."""

        # The two need each other, so one creates the other. A pool calls nothing until it has
        # children.
        self.pool = pool(self)

    @property
    def held(self) -> int:
        """Jobs that are delivered and not yet settled."""
        return len(self._waiting) + len(self.pool.placements) + len(self._settling)

    # For `Flow`

    def view(self) -> View:
        """Return the present state of the jobs that are held."""
        return View(
            mean=self.pool.pace.mean,
            is_stuck=bool(self._waiting) and self.pool.is_stuck(),
            taken=sum(not work.delivery.subscription.is_current for work in self.pool.placements),
            before=sum(
                not work.delivery.subscription.is_current
                for work in (*self.pool.placements, *self._waiting)
            ),
        )

    def give_back_waiting(self) -> None:
        """Return to the broker the jobs that no child has begun."""
        back, self._waiting = [*self._waiting], deque()
        self._give_back(back)

    # From the broker

    def on_deliveries(self, deliveries: list[Delivery]) -> None:
        """Take in jobs that have arrived, or messages that should have been jobs."""
        for delivery in deliveries:
            try:
                if work := self._work(delivery):
                    self._waiting.append(work)
            # It would end the connection, and the job would return and end the next one.
            except Exception as error:
                self._bury_unforeseen(delivery, error)
        if self._is_returning:
            self.give_back_waiting()
        else:
            # A job given back during consumption would return at once, so a drain keeps it.
            self.on_room()

    def _work(self, delivery: Delivery) -> Work | None:
        """Return the job in `delivery`; settle the delivery if it has no job that may run."""
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
        """Bury a delivery that failed for an unforeseen reason, so that it is not tried again."""
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
        """Drop deliveries that the broker has taken back: nothing about them counts any more."""
        gone = set(map(id, deliveries))
        self._waiting = deque(work for work in self._waiting if id(work.delivery) not in gone)
        for work in self.pool.take_back():
            if work.delivery.void is None:
                self._waiting.appendleft(work)
        begun = set(map(id, self._settling.values()))
        for work in self.pool.placements:
            begun.add(id(work.delivery))
            if id(work.delivery) in gone:
                self.pool.interrupt(work, Cause.DELIVERY_LOST)
        for delivery in deliveries:
            self._losses.note(_key(delivery), begun=id(delivery) in begun)
        for task, delivery in self._settling.items():
            if delivery.void:
                # It may wait for a broker that is unavailable for long.
                task.cancel()
        self._changed()

    # From the children

    def on_room(self) -> None:
        """Hand out waiting jobs, as far as there is room."""
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
            except Exception as error:  # for instance, headers that cannot be passed to a child
                waiting.popleft()
                self._bury_unforeseen(work.delivery, error)
                continue
            waiting.popleft()
            waited = None
            # A delay is not a wait, and nothing records when a delayed job entered the queue.
            if work.message.attempt == 1 and not work.message.was_delayed:
                waited = max(0.0, (now - work.message.enqueued_at) / 1000)
            for tell in self._observers.started:
                tell(work, waited)
        self._changed()

    def on_ended(self, work: Work, ended: Ended) -> None:
        """Settle `work`, whose end the child has reported."""
        for tell_ended in self._observers.ended:
            tell_ended(work, ended.seconds)
        if ended.status is Status.SUCCEEDED and work.delivery.void is None:
            work.delivery.subscription.ack(work.delivery, may_wait=bool(self._waiting))
            for tell_settled in self._observers.settled:
                tell_settled(SUCCEEDED, work, ended, NOTHING)
            return
        if ended.status is Status.INTERRUPTED and self.draining:
            self._give_back([work])
            return
        verdict = self._decided(
            work.delivery,
            lambda: self._judge.after(work.message, ended, original=work.delivery.original),
        )
        self._settle(work.delivery, verdict, work=work, ended=ended)

    def on_death(self, work: Work, death: Death, *, seconds: float) -> None:
        """Settle `work`, during which the child died and of which nothing is left."""
        for tell_ended in self._observers.ended:
            tell_ended(work, seconds)
        verdict = self._decided(work.delivery, lambda: self._judge.after_death(work.message, death))
        fields = {"seconds": round(seconds, 4), "death": death.reason, "pid": death.pid}
        self._settle(work.delivery, verdict, work=work, fields=fields)

    def on_taken_back(self, works: list[Work]) -> None:
        """Take back jobs that were not begun, or that the worker's end interrupted, uncharged."""
        if self._is_returning:
            self._give_back(works)
            return
        self._waiting.extendleft(work for work in reversed(works) if not work.delivery.void)
        self.on_room()

    def on_progress(self, work: Work, value: object) -> None:
        """Pass on the progress that the handler reported."""
        for tell in self._observers.progressed:
            tell(work, value)

    # The end

    def stop_handing_out(self) -> None:
        """Keep whatever arrives from now on, because the worker is about to drain."""
        self.draining = True

    def start_draining(self, *, requeue: bool) -> None:
        """Give back jobs not begun; let the others end or, with `requeue`, ask them to."""
        self.draining = self._is_returning = True
        back, self._waiting = [*self._waiting], deque()
        self._give_back([*back, *self.pool.take_back()])
        if requeue:
            for work in self.pool.placements:
                self.pool.interrupt(work, Cause.DRAINING)
            self._loop.call_later(REQUEUE_GRACE, self.pool.kill_running, Kill.DRAIN)
        self._changed()

    async def quiet(self) -> None:
        """Return once no job is left that the broker waits for this worker to settle."""
        while self._is_busy():
            self._quiet.clear()
            await self._quiet.wait()

    def _is_busy(self) -> bool:
        running = (work.delivery for work in self.pool.placements)
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
        ended: Ended | None = None,
        fields: Mapping[str, Any] = NOTHING,
    ) -> None:
        tell = functools.partial(self._tell, work=work, ended=ended, fields=fields)
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
            # The job stays unacked, and returns to its queue when the connection ends.
            log.error("settlement-failed", error=repr(error))
        self._changed()

    def _tell(
        self,
        verdict: Verdict,
        *,
        work: Work | None,
        ended: Ended | None = None,
        fields: Mapping[str, Any] = NOTHING,
    ) -> None:
        for tell in self._observers.settled:
            tell(verdict, work, ended, fields)
        self._changed()

    def _changed(self) -> None:
        if self.draining and not self._is_busy():
            self._quiet.set()
        for tell in self._on_change:
            tell()


def _key(delivery: Delivery) -> Key:
    """Return what identifies a job when it is delivered again."""
    properties = delivery.properties
    attempt = (properties.headers or {}).get(ATTEMPT, 1)
    # A foreign producer may set no id, or any value as the attempt.
    return str(properties.message_id or hash(delivery.body)), repr(attempt)
