"""What kopf is to remember of an object between two events: nothing.

kopf keeps the last handled spec in an annotation, to tell handlers what changed. Ours compare with
RabbitMQ and Kubernetes instead, so that annotation would be one more write for each new spec.
"""

from typing import Any

import kopf


class Stateless(kopf.DiffBaseStorage):
    """Every object is as it was: only its deletion is handled."""

    def build(self, **_: Any) -> Any:
        """What there is to compare."""
        return {}

    def fetch(self, **_: Any) -> Any:
        """What was compared before."""
        return {}

    def store(self, **_: Any) -> None:
        """Nothing."""
