"""Properties and headers of every AMQP type and depth."""

from __future__ import annotations

import random

from longshore.amqp.inbound import properties_in
from tests.fuzz import amqp
from tests.fuzz.conftest import Seeds


def test_properties_of_any_kind_are_read_or_found_faulty(seeds: Seeds) -> None:
    for seed in seeds:
        dice = random.Random(seed)
        headers = amqp.table(dice, depth=dice.choice((1, 3, 6)))
        header = amqp.properties(dice, headers=headers)
        if dice.random() < 0.3:
            header = amqp.damaged(dice, header)
        properties, fault = properties_in(header)
        assert fault is None or "cannot be read" in fault
        assert properties.headers is None or isinstance(properties.headers, dict)
