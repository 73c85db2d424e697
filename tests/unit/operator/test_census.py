from longshore_operator.app.scaling.census import SILENT_FOR, Census
from longshore_operator.app.watched.world import World
from longshore_operator.core.kubernetes.pods import Pod
from longshore_operator.core.scaling.sight import Sight
from tests.unit.operator.kubernetes import Kubernetes
from tests.unit.operator.test_workers import KEY, pod, report


def sight(world: World, *, now: float, reporting: tuple[str, ...] = ()) -> Sight:
    reports = {name: report(name) for name in reporting}
    return Sight(key=KEY, deployment=None, pods=world.pods(KEY), reports=reports, now=now)


def world(*pods: Pod) -> World:
    return World(all_pods={KEY: pods})


async def test_a_silent_pod_that_kubernetes_does_not_know_is_forgotten() -> None:
    shown = world(pod("real"), pod("phantom"), pod("speaking"))
    kubernetes = Kubernetes(pods={"uid-real"})
    census = Census(world=shown, workloads=kubernetes.workloads())

    for now in (0.0, SILENT_FOR / 2, SILENT_FOR, SILENT_FOR * 1.5):
        await census.look(sight(shown, now=now, reporting=("speaking",)))

    assert sorted(kubernetes.calls) == ["look for phantom", "look for real"]
    assert [pod.name for pod in shown.pods(KEY)] == ["real", "speaking"]


async def test_ready_workers_that_say_nothing_are_named() -> None:
    shown = world(pod("silent"), pod("starting", ready=False), pod("going", ending=True))
    census = Census(
        world=shown,
        workloads=Kubernetes(pods={"uid-silent", "uid-starting", "uid-going"}).workloads(),
    )

    assert await census.look(sight(shown, now=0.0)) == ()
    for now in (SILENT_FOR, SILENT_FOR + 1):
        assert await census.look(sight(shown, now=now)) == ("silent",)
    assert await census.look(sight(shown, now=SILENT_FOR + 2, reporting=("silent",))) == ()


async def test_nothing_is_kept_of_pods_that_the_watch_shows_no_more() -> None:
    shown = world(pod("phantom"))
    census = Census(world=shown, workloads=Kubernetes().workloads())
    for now in (0.0, SILENT_FOR):
        await census.look(sight(shown, now=now))
    assert shown.gone == {"uid-phantom"}

    shown.all_pods = {}
    census.forget()

    assert shown.gone == set()
