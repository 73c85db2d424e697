import pytest

from longshore.contract.features import features_of


def test_4_3_takes_the_ack_timeout_from_the_consumer() -> None:
    features = features_of("4.3.6")

    assert features.ack_timeout_by_consumer
    assert features.nack_is_free
    assert features.ack_timeout_resolution == 0


@pytest.mark.parametrize("version", ["4.0.5", "4.1.0", "4.2.9-rc.1"])
def test_before_4_3_a_policy_sets_it_and_a_return_counts(version: str) -> None:
    features = features_of(version)

    assert not features.ack_timeout_by_consumer
    assert not features.nack_is_free
    assert features.ack_timeout_resolution == 60


def test_the_next_major_version_is_taken_for_new() -> None:
    assert features_of("5.0.0").ack_timeout_by_consumer


def test_too_old_a_broker_is_refused_with_what_is_needed() -> None:
    with pytest.raises(ValueError, match=r"RabbitMQ 3\.13\.7 is too old; Longshore needs 4\.0"):
        features_of("3.13.7")


def test_nonsense_is_no_version() -> None:
    with pytest.raises(ValueError, match="'unknown' is not a RabbitMQ version"):
        features_of("unknown")
