"""JSON from outside: everyone who may publish to a queue can put any bytes there."""

from types import UnionType
from typing import Any, TypeVar, overload

import msgspec

T = TypeVar("T")


class Unreadable(ValueError):
    """Bytes that do not have the expected form."""


@overload
def read(body: bytes, as_: type[T]) -> T: ...
@overload
def read(body: bytes, as_: UnionType) -> Any: ...
def read(body: bytes, as_: Any) -> Any:
    """Decode `body`. Raises only Unreadable, whatever it contains."""
    try:
        return msgspec.json.decode(body, type=as_)
    except RecursionError:
        raise Unreadable("it is nested too deeply") from None
    except ValueError as error:
        raise Unreadable(str(error)) from None
