"""Makes kopf remember nothing of an object between two events.

kopf stores the last handled spec in an annotation, to tell handlers what has changed. Longshore's
loops compare with RabbitMQ and Kubernetes instead, so that annotation would be one more write for
each new spec.
"""

from typing import Any

import kopf


class Stateless(kopf.DiffBaseStorage):
    """To kopf, no object ever changes: only deletions are handled."""

    def build(self, **_: Any) -> Any:
        """Return nothing to compare."""
        return {}

    def fetch(self, **_: Any) -> Any:
        """Return nothing that was compared before."""
        return {}

    def store(self, **_: Any) -> None:
        """Store nothing."""
