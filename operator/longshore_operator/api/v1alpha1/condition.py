"""Conditions, in the form that Kubernetes objects share."""

from typing import Annotated, Literal

from pydantic import Field

from longshore_operator.api.types import (
    Resource,
)


class Condition(Resource):
    """One aspect of the state, in the form that Kubernetes objects share."""

    type: str = Field(max_length=316, description="Name of the condition.")
    status: Literal["True", "False", "Unknown"] = Field(description="Whether the condition holds.")
    reason: str = Field(max_length=1024, description="The reason in one word, for programs.")
    message: str = Field(max_length=32_768, description="The reason in a sentence, for people.")
    observed_generation: int = Field(
        default=0, description="Generation of the spec that the condition refers to."
    )
    last_transition_time: str = Field(
        default="", max_length=32, description="When the status last changed."
    )


Conditions = Annotated[
    tuple[Condition, ...],
    Field(
        max_length=16,
        description="Aspects of the state.",
        json_schema_extra={
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["type"],
        },
    ),
]
