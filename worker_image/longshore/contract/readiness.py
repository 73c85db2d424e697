"""What a worker answers at `/readyz` while it does not consume: a line, and why if it knows."""

MOST_SAID = 500
"""Characters of a reason; it ends up in a condition's message."""

_TROUBLE = "trouble: "


def not_consuming(trouble: str) -> bytes:
    """The body of the answer; `trouble` is empty while nothing is wrong, as during a start."""
    line = " ".join(trouble.split())[:MOST_SAID]
    return f"not consuming\n{_TROUBLE}{line}\n".encode() if line else b"not consuming\n"


def trouble_in(body: bytes) -> str:
    """Why the worker that answered so does not consume; empty when it does not say."""
    for line in body.decode(errors="replace").splitlines():
        if line.startswith(_TROUBLE):
            return line.removeprefix(_TROUBLE)[:MOST_SAID]
    return ""
