"""The operator's settings, from its environment."""

from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from longshore.contract.durations import Seconds
from longshore_operator.errors import Invalid

PREFIX = "LONGSHORE_"


class Settings(BaseModel):
    """Each field is an environment variable: `tick` is `LONGSHORE_TICK`."""

    model_config = ConfigDict(frozen=True)

    tick: Seconds = Field(default=1.0, ge=0.1, le=60)
    """How often jobs are counted and workers scaled."""

    liveness_port: int = Field(default=8080, ge=1, le=65_535)
    """Port of `/healthz`, which fails when no tick has ended for `liveness_after`."""

    http_port: int = Field(default=8081, ge=1, le=65_535)
    """Port on which the last hour of each TaskQueue is shown to `longshore explain`."""

    liveness_after: Seconds = Field(default=120.0, ge=5)
    """Longer than many calls take that time out: a restart does not mend an API server."""

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["json", "text"] = "json"

    namespace: str | None = None
    """Watch TaskQueues of this namespace only; all when absent."""

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> "Settings":
        """Settings in `environment`. Raises Invalid, naming the variable."""
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
