import pytest

from longshore_operator.errors import Invalid
from longshore_operator.settings import Settings


def test_settings_come_from_the_environment() -> None:
    settings = Settings.read({"LONGSHORE_TICK": "500ms", "LONGSHORE_LIVENESS_PORT": "1"})

    assert (settings.tick, settings.liveness_port) == (0.5, 1)


def test_a_bad_setting_is_named_with_its_value() -> None:
    with pytest.raises(Invalid, match="LONGSHORE_TICK is 'soon'"):
        Settings.read({"LONGSHORE_TICK": "soon"})
