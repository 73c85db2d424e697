"""A scaling policy that reads the numbers of jobs and of workers from a table."""

from longshore_operator.core.scaling import Situation, Wanted


def steps(situation: Situation, /) -> Wanted:
    """Return the workers of the last step that is reached, and at least one if a job waits."""
    options = situation.scaling.policy_options or {}
    jobs = situation.ready + situation.held
    workers, reached = min(jobs, 1), 0
    for step in options.get("steps", []):
        if step["jobs"] <= jobs and step["workers"] >= workers:
            workers, reached = step["workers"], step["jobs"]
    return Wanted(workers, (f"{jobs} jobs reach the step of {reached}: {workers} workers wanted",))
