import pytest

from longshore.contract import names


def test_a_queue_is_named_after_namespace_and_task_queue() -> None:
    assert names.queue_name(namespace="media", name="transcode") == "media.transcode"


@pytest.mark.parametrize("bad", ["", "a.b", "Media", "-a", "a-", "a_b", "x" * 64])
def test_a_part_that_could_be_taken_for_two_is_refused(bad: str) -> None:
    with pytest.raises(ValueError, match="is not a DNS label"):
        names.queue_name(namespace=bad, name="q")
    with pytest.raises(ValueError, match="is not a DNS label"):
        names.queue_name(namespace="ns", name=bad)


def test_the_longest_task_queue_still_has_secrets_with_dns_label_names() -> None:
    longest = "x" * names.MAX_TASK_QUEUE_NAME

    assert len(names.producer_name(longest)) == 63
    assert len(names.worker_name(longest)) <= 63
