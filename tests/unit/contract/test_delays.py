import pytest
from hypothesis import given
from hypothesis import strategies as st

from longshore.contract import delays
from longshore.contract.names import DUE_EXCHANGE, JOBS_EXCHANGE, ending_with


def matches(pattern: list[str], words: list[str]) -> bool:
    """AMQP topic matching: `*` is one word, `#` any number."""
    if not pattern:
        return not words
    if pattern[0] == "#":
        return any(matches(pattern[1:], words[skip:]) for skip in range(len(words) + 1))
    return bool(words) and pattern[0] in ("*", words[0]) and matches(pattern[1:], words[1:])


def walk(exchange: str, key: str) -> tuple[str, int]:
    """Where a message ends that enters the ladder, and the seconds it waited on its way."""
    words, waited = key.split("."), 0
    for level in reversed(range(delays.LEVELS)):
        assert exchange == delays.level_name(level)
        bits = [b for b in (0, 1) if matches(delays.binding_key(level, bit=b).split("."), words)]
        assert len(bits) == 1, "a message takes exactly one way at each level"
        waited += 2**level * bits[0]
        exchange = delays.next_exchange(level)
    return exchange, waited


@given(st.integers(min_value=1, max_value=delays.MAX_DELAY))
def test_the_ladder_holds_a_job_for_exactly_its_delay(seconds: int) -> None:
    exchange, key = delays.route("media.transcode", delay=seconds)

    assert walk(exchange, key) == (DUE_EXCHANGE, seconds)
    assert matches(ending_with("media.transcode").split("."), key.split("."))
    assert not matches(ending_with("other.transcode").split("."), key.split("."))


def test_no_delay_goes_straight_to_the_jobs_exchange() -> None:
    assert delays.route("media.transcode", delay=0) == (JOBS_EXCHANGE, "media.transcode")


def test_a_part_of_a_second_is_rounded_up() -> None:
    assert delays.route("a.b", delay=1.001) == delays.route("a.b", delay=2)


def test_a_delay_past_the_ladder_is_refused() -> None:
    with pytest.raises(ValueError, match="it must be at most 268435455 s"):
        delays.route("a.b", delay=2**28)


def test_a_routing_key_fits_amqp_for_the_longest_queue_name() -> None:
    _, key = delays.route("n" * 63 + "." + "q" * 63, delay=delays.MAX_DELAY)

    assert len(key) <= 255
