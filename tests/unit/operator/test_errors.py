import pytest

from longshore_operator.errors import Invalid, OperatorError, Transient
from longshore_operator.trouble import Trouble


@pytest.mark.parametrize("kind", [Transient, Invalid])
def test_an_error_and_a_trouble_say_the_same(kind: type[OperatorError]) -> None:
    trouble = Trouble(reason="Unreachable", message="cannot connect to rabbitmq:5672")

    error = kind.of(trouble)

    assert type(error) is kind
    assert (error.reason, str(error)) == ("Unreachable", "cannot connect to rabbitmq:5672")
    assert error.trouble == trouble
