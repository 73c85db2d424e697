"""Policies that apply to many queues and name each of them.

A pattern that merely resembles our queues' names would change foreign queues. RabbitMQ limits the
length of a pattern (4.3.6: 1,024 bytes), so a roster consists of as many policies as necessary,
which differ only in their patterns: `longshore.jobs`, `longshore.jobs.2` and so on. The listed
queues are read back from these patterns.
"""

import re
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass
from functools import lru_cache
from itertools import count, groupby, takewhile
from typing import Any

from longshore.contract.names import dead_queue_name
from longshore_operator.core.rabbitmq.policies import (
    DEAD_DEFAULTS,
    DEFAULT_PRIORITY,
    JOB_DEFAULTS,
    Absent,
    QueuePolicy,
    own_policy_name,
)

JOBS = "longshore.jobs"
DEAD = "longshore.dead"

LONGEST_PATTERN = 1024
"""Bytes."""


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Listed:
    """A queue that is named in a roster."""

    roster: str
    queue: str
    """The job queue's name, even if its dead-letter queue is meant."""

    def __str__(self) -> str:
        return f"policy {self.roster} for {self.queue}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """Policies to write, in this order, and those to remove afterwards: no queue that stays listed
    is without its policy in between."""

    policies: tuple[QueuePolicy, ...] = ()
    absent: tuple[Absent, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Roster:
    """Default settings for the queues that are listed."""

    name: str
    suffix: str
    """What follows the job queue's name."""

    definition: Mapping[str, Any]

    def listed(self, policies: Mapping[str, QueuePolicy]) -> dict[str, frozenset[str]]:
        """Return the job queues by the policy that lists them. A policy that cannot be read lists
        none."""
        return {
            name: queues_in(policy.pattern, suffix=self.suffix) or frozenset()
            for name, policy in policies.items()
            if self._is_part(name)
        }

    def unreadable(self, policies: Mapping[str, QueuePolicy]) -> list[str]:
        """Return the policies with one of the roster's names whose patterns are not Longshore's."""
        return [
            name
            for name, policy in policies.items()
            if self._is_part(name) and not self._is_written(policy)
        ]

    def written(self, policies: Mapping[str, QueuePolicy]) -> set[str]:
        """Return the policies with one of the roster's names that look as Longshore writes them."""
        return {
            name
            for name, policy in policies.items()
            if self._is_part(name) and self._is_written(policy)
        }

    def changed(
        self,
        policies: Mapping[str, QueuePolicy],
        *,
        add: Set[str],
        drop: Set[str] = frozenset(),
        seen: Set[str] = frozenset(),
    ) -> Change:
        """Return the change after which the roster, now part of `policies`, lists `add` but not
        `drop`.

        A policy that cannot be read is foreign and left alone, unless its name is in `seen`, the
        names seen as Longshore's before: then it was changed by hand.
        """
        foreign = set(self.unreadable(policies)) - seen
        parts = self.listed(policies)
        before = {name: queues for name, queues in parts.items() if name not in foreign}
        after = {name: set(queues) - drop for name, queues in before.items()}
        self._fill(after, sorted(add - set().union(*after.values())), taken=foreign)
        wanted = {name: self._policy(name, queues) for name, queues in after.items() if queues}
        changed = [each for name, each in wanted.items() if policies.get(name) != each]
        # Patterns that only grow come first: they may take over a queue that another one loses.
        changed.sort(key=lambda each: each.name in before and not _only_grows(each, before, after))
        absent = sorted(before.keys() - wanted.keys())
        return Change(
            policies=tuple(changed),
            absent=tuple(Absent(name=name, pattern=policies[name].pattern) for name in absent),
        )

    def _fill(self, parts: dict[str, set[str]], queues: list[str], *, taken: Set[str]) -> None:
        """Put `queues` where there is room, beginning with the first parts and skipping `taken`."""
        numbers = count(1)
        while queues:
            number = next(numbers)
            name = self.name if number == 1 else f"{self.name}.{number}"
            if name in taken:
                continue
            part = parts.setdefault(name, set())
            fits, too_many = 0, len(queues) + 1
            while too_many - fits > 1:
                middle = (fits + too_many) // 2
                is_short = self._length(part.union(queues[:middle])) <= LONGEST_PATTERN
                fits, too_many = (middle, too_many) if is_short else (fits, middle)
            part.update(queues[:fits])
            queues = queues[fits:]

    def _length(self, queues: Iterable[str]) -> int:
        return len(pattern_of(queues, suffix=self.suffix).encode())

    def _policy(self, name: str, queues: Iterable[str]) -> QueuePolicy:
        return QueuePolicy(
            name=name,
            pattern=pattern_of(queues, suffix=self.suffix),
            priority=DEFAULT_PRIORITY,
            definition=self.definition,
        )

    def _is_part(self, name: str) -> bool:
        return roster_of(name) == self.name

    def _is_written(self, policy: QueuePolicy) -> bool:
        return (
            queues_in(policy.pattern, suffix=self.suffix) is not None
            or policy.pattern == _OF_EARLIER_RELEASES[self.name]
        )


ROSTERS = {
    JOBS: Roster(name=JOBS, suffix="", definition=JOB_DEFAULTS),
    DEAD: Roster(name=DEAD, suffix=dead_queue_name(""), definition=DEAD_DEFAULTS),
}

_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_QUEUE = re.compile(rf"{_LABEL}\.{_LABEL}")
_NUMBER = re.compile(r"[2-9]|[1-9][0-9]+")
_OF_EARLIER_RELEASES = {
    JOBS: rf"^{_LABEL}\.{_LABEL}$",
    DEAD: rf"^{_LABEL}\.{_LABEL}\.dead$",
}
"""Patterns that did not name queues, and also matched foreign ones."""


def roster_of(policy: str) -> str:
    """Return the roster that a policy is part of; its own name if it is part of none."""
    name, _, number = policy.rpartition(".")
    return name if name in ROSTERS and _NUMBER.fullmatch(number) else policy


def policies_in_force(
    policies: Iterable[QueuePolicy], *, queue: str, source: str
) -> dict[str, str]:
    """Return the policy that should apply to each queue of a TaskQueue with its own `policies`."""
    own = {policy.name for policy in policies}
    dead = dead_queue_name(queue)
    wanted = {source: (queue, JOBS), dead: (dead, DEAD)}
    return {
        each: name if (name := own_policy_name(key)) in own else default
        for each, (key, default) in wanted.items()
    }


def pattern_of(queues: Iterable[str], *, suffix: str) -> str:
    """Return a pattern for exactly these names, each followed by `suffix`.

    Common prefixes occur only once: RabbitMQ evaluates each pattern for each queue whenever any
    policy changes, so the cost of a change depends on its length.
    """
    return f"^{_tree_of(frozenset(queues))}{re.escape(suffix)}$"


def can_be_listed(queue: str) -> bool:
    """Return whether a TaskQueue's own job queue could have this name."""
    return _QUEUE.fullmatch(queue) is not None


@lru_cache(maxsize=1000)
def queues_in(pattern: str, *, suffix: str) -> frozenset[str] | None:
    """Return the names from which `pattern_of` made this pattern; None if it did not make it."""
    end = f"{re.escape(suffix)}$"
    if not (pattern.startswith("^") and pattern.endswith(end)):
        return None
    try:
        found = frozenset(_names(_Reader(pattern[1 : -len(end)])))
    except ValueError:
        return None
    is_ours = all(map(can_be_listed, found)) and pattern_of(found, suffix=suffix) == pattern
    return found if is_ours else None


@lru_cache(maxsize=1000)  # each reading of RabbitMQ needs all of them
def _tree_of(names: frozenset[str]) -> str:
    return _tree(sorted(names))


def _tree(names: list[str]) -> str:
    if not names:
        return ""
    # The first and the last of sorted names share the prefix that all share.
    same = takewhile(lambda pair: pair[0] == pair[1], zip(names[0], names[-1], strict=False))
    common = "".join(character for character, _ in same)
    if len(names) == 1:
        return _escaped(common)
    rest = [name[len(common) :] for name in names]
    branches = [list(each) for _, each in groupby(filter(None, rest), key=lambda name: name[0])]
    optional = "" if rest[0] else "?"
    if all(branch == [branch[0][0]] for branch in branches):
        return f"{_escaped(common)}[{_ranges(branch[0] for branch in branches)}]{optional}"
    return f"{_escaped(common)}(?:{'|'.join(map(_tree, branches))}){optional}"


def _ranges(characters: Iterable[str]) -> str:
    """Return sorted `characters` for a class: runs such as 0-9, and a hyphen, which is first."""
    runs: list[list[str]] = []
    for each in characters:
        if runs and ord(each) == ord(runs[-1][-1]) + 1 and each.isalnum():
            runs[-1].append(each)
        else:
            runs.append([each])
    return "".join(f"{run[0]}-{run[-1]}" if len(run) > _SHORT else "".join(run) for run in runs)


_SHORT = 2


def _escaped(text: str) -> str:
    # A hyphen has no meaning outside of brackets; escaped, it would only be longer.
    return re.escape(text).replace(r"\-", "-")


@dataclass(slots=True)
class _Reader:
    text: str
    at: int = 0

    def take(self, expected: str) -> bool:
        if not self.text.startswith(expected, self.at):
            return False
        self.at += len(expected)
        return True

    def literal(self) -> str:
        found = re.compile(r"(?:[a-z0-9-]|\\\.)*").match(self.text, self.at)
        text = found[0] if found else ""
        self.at += len(text)
        return text.replace("\\", "")

    def class_(self) -> list[str] | None:
        """Return the characters of a class, if there is one at this position."""
        found = re.compile(r"\[(-?)((?:[a-z0-9.](?:-[a-z0-9])?)*)\]").match(self.text, self.at)
        if not found:
            return None
        self.at = found.end()
        runs = re.findall(r"(.)(?:-(.))?", found[2])
        inside = [chr(each) for a, z in runs for each in range(ord(a), ord(z or a) + 1)]
        return [*found[1], *inside]


def _names(reader: _Reader, *, depth: int = 0) -> list[str]:
    """Return all names of one branch. Raises ValueError if it is not the result of `_tree`."""
    if depth > _DEEPEST:
        raise ValueError(reader.text)
    common, names = reader.literal(), [""]
    if (characters := reader.class_()) is not None:
        names = characters
    elif reader.take("(?:"):
        names = _names(reader, depth=depth + 1)
        while reader.take("|"):
            names += _names(reader, depth=depth + 1)
        if not reader.take(")"):
            raise ValueError(reader.text)
    if names != [""] and reader.take("?"):
        names.append("")
    if depth == 0 and reader.at != len(reader.text):
        raise ValueError(reader.text)
    return [common + name for name in names]


_DEEPEST = 200
"""Limit of nested branches; a name has fewer characters."""


def _only_grows(
    policy: QueuePolicy, before: Mapping[str, frozenset[str]], after: Mapping[str, set[str]]
) -> bool:
    # A pattern that cannot be read may have matched any queue.
    return frozenset() < before[policy.name] <= after[policy.name]
