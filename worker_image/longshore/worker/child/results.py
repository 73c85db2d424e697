"""What a handler returned, as far as it can be told to the parent."""

from longshore.worker.child.failures import Ending, said
from longshore.worker.wire.frames import Status
from longshore.worker.wire.values import encode_result


class Returned:
    """A handler's return value other than None."""

    __slots__ = ("value",)

    def __init__(self, value: object) -> None:
        self.value = value


def success_with(returned: Returned) -> Ending:
    """A success, with the result; where that cannot be told, with the reason.

    The job is done either way: handlers returned all kinds of things before anybody looked.
    """
    try:
        return Ending(Status.SUCCEEDED, result=encode_result(returned.value))
    except BaseException as error:  # objects of the user's are asked what they hold
        return Ending(Status.SUCCEEDED, result_omitted=said(error))
