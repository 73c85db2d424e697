from typing import Any

from longshore_operator.core.kubernetes.ownership import reclaimed

OURS, SCALER = "longshore", "longshore-scaler"


def entry(manager: str, fields: dict[str, Any], **more: str) -> dict[str, Any]:
    operation = "Apply" if manager in (OURS, SCALER) else "Update"
    return {"manager": manager, "operation": operation, "fieldsV1": fields, **more}


def of_pods(fields: dict[str, Any]) -> dict[str, Any]:
    return {"f:spec": {"f:template": {"f:spec": fields}}}


IMAGE: dict[str, Any] = {"f:containers": {'k:{"name":"worker"}': {"f:image": {}}}}
DEBUG: dict[str, Any] = {
    "f:containers": {'k:{"name":"worker"}': {"f:env": {'k:{"name":"DEBUG"}': {".": {}}}}}
}
OWN = entry(OURS, of_pods(IMAGE))


def test_nobody_else_has_set_anything() -> None:
    scaler = entry(SCALER, {"f:spec": {"f:replicas": {}}})
    status = entry("kube-controller-manager", {"f:status": {}}, subresource="status")

    assert reclaimed([OWN, scaler, status], ours=OURS, allowed=[SCALER]) is None


def test_a_restart_and_a_number_are_left_alone() -> None:
    restart = entry("kubectl-rollout", {"f:spec": {"f:template": {"f:metadata": {"f:x": {}}}}})
    number = entry("kubectl-scale", {"f:spec": {"f:replicas": {}}}, subresource="scale")

    assert reclaimed([OWN, restart, number], ours=OURS, allowed=[SCALER]) is None


def test_what_was_added_to_the_pods_becomes_ours_and_all_else_stays() -> None:
    theirs = of_pods(DEBUG)
    theirs["f:spec"]["f:replicas"] = {}

    found = reclaimed([OWN, entry("kubectl-set", theirs)], ours=OURS, allowed=[SCALER])

    both: dict[str, Any] = {
        'k:{"name":"worker"}': {"f:image": {}, "f:env": {'k:{"name":"DEBUG"}': {".": {}}}}
    }
    assert found == [
        entry(OURS, of_pods({"f:containers": both})),
        entry("kubectl-set", {"f:spec": {"f:replicas": {}}}),
    ]
    assert entry(OURS, of_pods(IMAGE)) == OWN, "what was given was changed"


def test_a_manager_with_nothing_left_is_no_manager() -> None:
    found = reclaimed([entry("kubectl-set", of_pods(DEBUG))], ours=OURS, allowed=[])

    assert found is not None
    (only,) = found
    assert (only["manager"], only["operation"]) == (OURS, "Apply")
    assert only["fieldsV1"] == of_pods(DEBUG)


def test_what_was_added_beside_the_pods_becomes_ours_too() -> None:
    theirs = {
        "f:spec": {
            "f:minReadySeconds": {},
            "f:paused": {},
            "f:replicas": {},
            "f:strategy": {"f:type": {}},
            "f:template": {"f:metadata": {"f:annotations": {}}},
        }
    }

    found = reclaimed([OWN, entry("kubectl-patch", theirs)], ours=OURS, allowed=[SCALER])

    assert found is not None
    own, left = found
    assert own["fieldsV1"]["f:spec"].keys() == {"f:template", "f:minReadySeconds", "f:paused"}
    assert left["fieldsV1"]["f:spec"].keys() == {"f:replicas", "f:strategy", "f:template"}
