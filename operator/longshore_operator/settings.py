"""The operator's settings, from its environment."""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from longshore_operator.api.types import Seconds
from longshore_operator.errors import Invalid

PREFIX = "LONGSHORE_"


def _budgets(value: object) -> object:
    if not isinstance(value, str):
        return value
    pairs = [part.partition("=") for part in value.split(",") if part.strip()]
    for name, equals, count in pairs:
        if not name.strip() or not equals or not count.strip().isdecimal():
            raise ValueError("write it like gpu=8,batch=100")
    return {name.strip(): int(count) for name, _, count in pairs}


class Settings(BaseModel):
    """Each field is an environment variable: `tick` is `LONGSHORE_TICK`."""

    model_config = ConfigDict(frozen=True)

    tick: Seconds = Field(default=1.0, ge=0.1, le=60)
    """How often jobs are counted and workers scaled."""

    liveness_port: int = Field(default=8080, ge=1, le=65_535)
    """Port of `/healthz`, which fails when no tick has ended for `liveness_after`."""

    http_port: int = Field(default=8081, ge=1, le=65_535)
    """Port of `/metrics`, and of the last hour of each TaskQueue for `longshore explain`."""

    liveness_after: Seconds = Field(default=120.0, ge=5)
    """Longer than many calls in a row that time out: a restart does not repair an API server."""

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["json", "text"] = "json"

    namespace: str | None = None
    """Watch only TaskQueues of this namespace; of all namespaces when absent."""

    budgets: Annotated[
        dict[str, Annotated[int, Field(ge=0, le=100_000)]], BeforeValidator(_budgets)
    ] = Field(default={})
    """Maximum number of workers that all TaskQueues of a budget group may have together, e.g.
    `gpu=8,batch=100`."""

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> "Settings":
        """Read the settings from `environment`. Raises Invalid, whose message names the
        variable."""
        values = {
            name: environment[variable]
            for name in cls.model_fields
            if (variable := PREFIX + name.upper()) in environment
        }
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            text = "; ".join(
                f"{PREFIX}{str(part['loc'][0]).upper()} is {part['input']!r}: {part['msg']}"
                for part in error.errors()
            )
            raise Invalid(text, reason="InvalidSettings") from error
