"""What can go wrong with a measurement itself."""


class BenchmarkError(Exception):
    """No figure can be given; the message says why."""


class RoundSpoiled(BenchmarkError):
    """A drain did not end as it should: jobs lost, repeated or stuck, or the worker died."""


class NotBuiltYet(BenchmarkError):
    """What is to be measured does not exist in the product."""
