"""Policies for many queues name each of them, and match no other."""

import random
import re

import pytest

from longshore_operator.core.rabbitmq.policies import QueuePolicy
from longshore_operator.core.rabbitmq.rosters import (
    DEAD,
    JOBS,
    LONGEST_PATTERN,
    ROSTERS,
    Change,
    pattern_of,
    queues_in,
    roster_of,
)

WIDE = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?$"


def names(count: int, *, seed: int = 1, alphabet: str = "abc-09") -> list[str]:
    draw = random.Random(seed)

    def label() -> str:
        inner = "".join(draw.choices(alphabet, k=draw.randint(0, 12)))
        return f"{draw.choice('abc09')}{inner}{draw.choice('abc09')}"

    return sorted({f"{label()}.{label()}" for _ in range(count)})


def applied(policies: dict[str, QueuePolicy], change: Change) -> dict[str, QueuePolicy]:
    after = policies | {policy.name: policy for policy in change.policies}
    absent = {each.name for each in change.absent}
    return {name: policy for name, policy in after.items() if name not in absent}


def matching(policies: dict[str, QueuePolicy], queue: str) -> list[str]:
    return [name for name, policy in policies.items() if re.search(policy.pattern, queue)]


@pytest.mark.parametrize("suffix", ["", ".dead"])
@pytest.mark.parametrize("alphabet", ["abc-09", "0123456789", "a", "-b"])
@pytest.mark.parametrize("count", [1, 2, 7, 40])
def test_a_pattern_matches_its_queues_alone_and_can_be_read_back(
    count: int, alphabet: str, suffix: str
) -> None:
    listed, others = names(count, alphabet=alphabet), names(500, seed=2, alphabet=alphabet)

    pattern = pattern_of(listed, suffix=suffix)

    assert queues_in(pattern, suffix=suffix) == frozenset(listed)
    near = [each for name in listed for each in (name[:-1], f"{name}x", f"x{name}", f"{name}.dead")]
    for name in {*others, *near}:
        assert bool(re.search(pattern, name + suffix)) is (name in listed), name
    assert all(re.search(pattern, name + suffix) for name in listed)


@pytest.mark.parametrize(
    "pattern",
    [
        "^.*$", "^theirs", "^theirs$", WIDE, "^$", "", "^(?:a\\.b|a\\.c)$", "^a\\.b", "^a\\.[b-]$",
        "^a.b$", "^a\\.b(?:c$", "^a\\.[]$", "^a\\.[z-a]$", f"^{'(?:' * 5000}$", "^A\\.b$",
    ],
)  # fmt: skip
def test_a_pattern_of_somebody_elses_is_not_taken_for_a_roster(pattern: str) -> None:
    assert queues_in(pattern, suffix="") is None


def test_no_pattern_is_longer_than_rabbitmq_takes() -> None:
    listed = names(500)

    policies = applied({}, ROSTERS[DEAD].changed({}, add=set(listed)))

    assert set(policies) == {DEAD} | {f"{DEAD}.{n}" for n in range(2, len(policies) + 1)}
    assert len(policies) > 2
    assert all(len(policy.pattern) <= LONGEST_PATTERN for policy in policies.values())
    assert all(len(matching(policies, f"{name}.dead")) == 1 for name in listed)
    assert {roster_of(name) for name in policies} == {DEAD}


def test_what_is_listed_already_costs_no_write() -> None:
    roster, listed = ROSTERS[JOBS], set(names(500))
    policies = applied({}, roster.changed({}, add=listed))

    assert roster.changed(policies, add=listed) == Change()


def test_one_more_queue_is_one_policy_written() -> None:
    roster = ROSTERS[JOBS]
    policies = applied({}, roster.changed({}, add=set(names(500))))

    change = roster.changed(policies, add={"media.transcode"})

    assert len(change.policies) == 1
    assert matching(applied(policies, change), "media.transcode")


def test_a_roster_of_nobody_is_no_policy() -> None:
    roster, listed = ROSTERS[JOBS], set(names(100))
    policies = applied({}, roster.changed({}, add=listed))

    change = roster.changed(policies, add=set(), drop=listed)

    assert applied(policies, change) == {}
    assert {each.name for each in change.absent} == set(policies)


def test_no_queue_is_without_a_policy_while_the_pattern_of_an_earlier_release_gives_way() -> None:
    roster, listed = ROSTERS[JOBS], set(names(300))
    wide = QueuePolicy(name=JOBS, pattern=WIDE, priority=1000, definition=roster.definition)
    policies = {JOBS: wide}
    assert roster.unreadable(policies) == []

    change = roster.changed(policies, add=listed)

    assert len(change.policies) > 2
    for policy in change.policies:
        policies[policy.name] = policy
        assert all(matching(policies, name) for name in listed)
    assert not matching(policies, "orders.created")


def test_a_changed_definition_is_put_right() -> None:
    roster = ROSTERS[JOBS]
    (ours,) = roster.changed({}, add={"media.transcode"}).policies
    changed = QueuePolicy(name=JOBS, pattern=ours.pattern, priority=1, definition={"max-length": 1})

    assert roster.changed({JOBS: changed}, add=set()).policies == (ours,)


@pytest.mark.parametrize("name", [JOBS, f"{JOBS}.2"])
def test_a_policy_of_somebody_elses_under_a_rosters_name_is_seen(name: str) -> None:
    theirs = QueuePolicy(name=name, pattern="^theirs", priority=1, definition={"max-length": 7})

    assert ROSTERS[JOBS].unreadable({name: theirs}) == [name]
    assert ROSTERS[DEAD].unreadable({name: theirs}) == []


THEIRS = QueuePolicy(name=f"{JOBS}.2", pattern="^theirs", priority=1, definition={"max-length": 7})


def test_a_policy_of_somebody_elses_under_a_rosters_name_is_neither_removed_nor_written() -> None:
    roster, listed = ROSTERS[JOBS], set(names(500))

    assert roster.changed({THEIRS.name: THEIRS}, add=set()) == Change()
    after = applied({THEIRS.name: THEIRS}, roster.changed({THEIRS.name: THEIRS}, add=listed))

    assert after[THEIRS.name] == THEIRS
    assert all(matching(after, name) for name in listed)


def test_a_policy_that_was_seen_as_ours_is_put_right_when_its_pattern_was_changed() -> None:
    roster = ROSTERS[JOBS]
    (ours,) = roster.changed({}, add={"media.transcode"}).policies
    changed = QueuePolicy(name=JOBS, pattern="^changed", priority=1, definition={})

    found = roster.changed({JOBS: changed}, add={"media.transcode"}, seen={JOBS})

    assert found.policies == (ours,)


@pytest.mark.parametrize("number", ["07", "0", "1", "\uff12", "x"])
def test_a_name_that_longshore_would_not_give_is_no_part_of_a_roster(number: str) -> None:
    name = f"{JOBS}.{number}"

    assert roster_of(name) == name
