from __future__ import annotations

import pytest

from chaos.soak import Sample, growth, judge, whole


def values(*numbers: int) -> list[tuple[float, int]]:
    return [(float(at), number) for at, number in enumerate(numbers)]


@pytest.mark.parametrize(
    ("numbers", "grown"),
    [
        ([9] * 40, 0.0),
        ([1] * 10 + [9] * 30, 0.0),
        ([9] * 30 + [18] * 10, 1.0),
        (list(range(100, 140)), 0.15),
        ([0] * 40, 0.0),
    ],
    ids=["flat", "warm-up", "doubled", "steady-growth", "nothing"],
)
def test_growth_is_that_of_the_last_third_over_the_first_after_the_warm_up(
    numbers: list[int], grown: float
) -> None:
    assert growth(values(*numbers)) == pytest.approx(grown, abs=0.03)


def test_a_leak_of_descriptors_is_found_in_the_part_that_has_it() -> None:
    samples = [
        Sample(at=at, part=part, bytes=100, threads=1, descriptors=10 + leak * at // 10)
        for at in range(40)
        for part, leak in (("parent", 1), ("zygote", 0))
    ]
    bad = [check["name"] for check in judge(samples, values(*[5] * 40)) if not check["ok"]]
    assert bad == ["parent: descriptors"]


def test_a_part_that_ends_before_the_soak_is_found() -> None:
    samples = [
        Sample(at=at, part=part, bytes=100, threads=1, descriptors=10)
        for at in range(4)
        for part in ("parent", "zygote")
        if part == "parent" or at < 3
    ]
    assert whole(samples, ["parent"])["ok"]
    assert whole(samples, ["parent", "zygote"])["measured"] == 0.5
    assert not whole(samples, ["parent", "operator"])["ok"]
