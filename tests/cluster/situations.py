"""Bring a job into six situations on a real control plane, and write what a user sees there: `make situations`."""

import asyncio
import os
import subprocess
import sys
import tempfile
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from distilljob_core.exchange import Directive, RoundKey
from distilljob_core.phases import StudentPhase
from distilljob_core.results import EnsembleOutcome, HoldoutAccuracy, StudentSummary, TestAccuracy
from harness.aggregators import Aggregators
from harness.group import Group, Site
from harness.jobs import condition, student
from harness.operator_process import OperatorProcess, hasty
from harness.students import Student, run_to_the_end
from rig.api import NAMESPACES, PODS, SERVICE_ACCOUNTS, Api
from rig.build import program
from rig.control_plane import ControlPlane
from rig.pod_network import PodNetwork

MODELS: Final = {"mlp": "mlp_small", "cnn": "cnn_small", "cnn-bn": "cnn_bn_small"}
ACCURACY: Final = {"mlp": 0.9361, "cnn": 0.9583, "cnn-bn": 0.9722}
CYCLES, PLANNED_EPOCHS = 3, 70
METHOD: Final = {"cycles": CYCLES, "independentEpochs": 10, "distillEpochs": 20, "temperature": 3.0}
COMMANDS: Final = "kubectl get dj; kubectl get dj -o wide; distilljob status digits; kubectl describe dj digits"
HEAD: Final = """# What a user sees in six situations

Made by `make situations`: API server, operator, aggregators and command line are real, the nodes are fake, and a script
plays the students. Each situation is a job of its own, in a namespace of its own. The operator writes progress at most
once a minute, here once a second.
"""


@dataclass(frozen=True)
class Stage:
    """Where the situations are brought about."""

    plane: ControlPlane
    network: PodNetwork
    site: Site

    async def open(self, namespace: str, **spec: object) -> Group:
        """Make the job, with its aggregator behind the address of its pod."""
        group = Group(self.site, "digits", namespace)
        networks = [{"name": name, "model": {"name": model}, "gpus": 1} for name, model in MODELS.items()]
        await group.apply(*networks, method=METHOD, **{"failurePolicy": {"backoff": {}}, **spec})
        port = int((await group.aggregate()).url.rpartition(":")[2])
        role = "distilljob.dev/role=aggregator"
        [pod] = await group.api.until(
            PODS, lambda found: found and "podIP" in found[0]["status"], namespace, selector=role
        )
        self.network.routes[f"{pod['status']['podIP']}:8471"] = ("127.0.0.1", port)
        return group

    def captures(self, namespace: str) -> str:
        """Run the commands of a user whose kubeconfig names this namespace."""
        kubeconfig = self.plane.folder / f"{namespace}.kubeconfig"
        kubeconfig.write_bytes(self.plane.kubeconfig().read_bytes())
        programs = {"kubectl": program("kubectl"), "distilljob": Path(sys.executable).with_name("distilljob")}
        environment = {**os.environ, "KUBECONFIG": str(kubeconfig), "COLUMNS": "120", "NO_COLOR": "1"}

        def said(line: str) -> str:
            argv = [str(programs.get(word, word)) for word in line.split()]
            text = subprocess.run(argv, env=environment, capture_output=True, text=True, check=True).stdout
            return "\n".join(row.rstrip() for row in text.rstrip().splitlines())

        said(f"kubectl config set-context --current --namespace={namespace}")
        return "\n".join(f"```console\n$ {line}\n{said(line)}\n```\n" for line in COMMANDS.split("; "))


async def at_work(stage: Stage, namespace: str, **spec: object) -> Group:
    """Have all three students train, and the status show it."""
    group = await stage.open(namespace, **spec)
    for epoch, name in enumerate(MODELS, 3):
        say(await group.play(name), epoch)
    await group.until(lambda job: all("accuracy" in student(job, name) for name in MODELS))
    return group


def say(played: Student, epoch: float, cycle: int = 1) -> None:
    """Have a student say from now on that it is there."""
    accuracy = round(ACCURACY[played.who.student] * epoch / (epoch + 0.5), 4)
    where = {"cycle": cycle, "epoch": epoch, "planned_epochs": PLANNED_EPOCHS}
    played.told = where | {"loss": 1.2 / epoch, "accuracy": {"holdout": accuracy, "test": accuracy}}


async def running(stage: Stage, namespace: str) -> Group:
    """Three students train; nothing is wrong."""
    return await at_work(stage, namespace)


async def back_off(stage: Stage, namespace: str) -> Group:
    """The pod of `cnn` was killed for memory; its next attempt waits, the others go on."""
    group = await at_work(stage, namespace, failurePolicy={"backoff": {"initialSeconds": 90}})
    group.students[1].leave()
    await group.exit("cnn", 137, container_reason="OOMKilled")
    await group.until(lambda job: student(job, "cnn")["phase"] == "BackOff")
    return group


async def hung(stage: Stage, namespace: str) -> Group:
    """`cnn` makes no step any more: its pod is ended, and keeps its log; nothing replaces it until it is gone."""
    group = await at_work(stage, namespace, failurePolicy={"hang": {"steadySeconds": 5}, "backoff": {}})
    await group.api.annotate(PODS, group.students[1].pod_name, group.namespace, frozen="yes")
    group.students[1].hang()
    await group.until(lambda job: student(job, "cnn")["phase"] == "Ending")
    return group


async def by_turns(stage: Stage, namespace: str) -> Group:
    """One place for three students: `mlp` has brought its soft labels and is parked, `cnn` trains, `cnn-bn` waits."""
    group = await stage.open(namespace, placement={"maximumConcurrentStudents": 1})
    first = await group.play("mlp")
    say(first, 10)
    await first.bring(RoundKey(1))
    await first.until_directive(Directive.PARK)
    first.leave()
    await group.exit("mlp", 75)
    say(await group.play("cnn"), 4)
    await group.until(lambda job: "accuracy" in student(job, "cnn"))
    return group


async def suspended(stage: Stage, namespace: str) -> Group:
    """`spec.suspend` is true: the students have saved and are gone, the aggregator too."""
    group = await at_work(stage, namespace)
    await group.change(suspend=True)
    await group.until_condition("Suspended", "True", "SuspendedByUser")
    return group


async def complete(stage: Stage, namespace: str) -> Group:
    """All students are done; everything is gone but the volumes, and the results are in one of them."""
    group = await at_work(stage, namespace)
    for one in group.students:
        say(one, PLANNED_EPOCHS, CYCLES)
        one.train(StudentPhase.EVALUATING)
        await one.until_heard()
    await run_to_the_end(group.students, summary, CYCLES)
    for one in group.students:
        one.leave()
        await group.exit(one.who.student, 0)
    await group.until(lambda job: condition(job, "Complete")[0] == "True" and "result" in job["status"])
    return group


def summary(name: str, attempt: int) -> StudentSummary:
    """Make a terminal record."""
    last, weights = ACCURACY[name], [round(1e4 * one) for one in ACCURACY.values()]
    ensemble = EnsembleOutcome(accuracy=0.975, nll=0.1, ece=0.01, members=[*MODELS], weights=weights, disagreement=0)
    accuracy = TestAccuracy(last=last, selected=last, optimistic=last, independent=last - 0.01)
    return StudentSummary(
        name=name, model=MODELS[name], attempt=attempt, num_parameters=10_000, epochs=PLANNED_EPOCHS, steps=1,
        accuracy=accuracy, holdout=HoldoutAccuracy(last=last, selected=last), nll=0.1, ece=0.01, seconds={}, cycles=[],
        ensemble=ensemble, artifacts=[], exact=True, inexact_reasons=[], environment={},
    )  # fmt: skip


SITUATIONS: Final = (running, back_off, hung, by_turns, suspended, complete)


async def write(plane: ControlPlane, network: PodNetwork, folder: Path) -> None:
    """Bring about one situation after the other, and print the page."""
    async with network.opened(), Api(plane.kubeconfig()) as api, AsyncExitStack() as stack:
        first, *others = namespaces = [situation.__name__.replace("_", "-") for situation in SITUATIONS]
        for name in namespaces:
            await api.create(NAMESPACES, {"metadata": {"name": name}})
            await api.until(SERVICE_ACCOUNTS, bool, name, name="default")
        await (aggregators := Aggregators(folder)).open()
        stack.push_async_callback(aggregators.close)
        flags = ["--aggregator-url=proxy", *(f"--namespace={name}" for name in others)]
        operator = OperatorProcess(plane.kubeconfig(), first, folder, *flags, program=hasty(status_seconds=1.0))
        await operator.start()
        stack.push_async_callback(operator.stop)
        stage = Stage(plane, network, Site(api, operator, aggregators, first, tuple(others)))
        print(HEAD, end="")
        for bring_about, namespace in zip(SITUATIONS, namespaces, strict=True):
            group = await bring_about(stage, namespace)
            captures = await asyncio.to_thread(stage.captures, namespace)
            print(f"\n## {namespace.capitalize().replace('-', ' ')}\n\n{bring_about.__doc__}\n\n{captures}", end="")
            await group.close()


def main() -> None:
    """Write the page to the standard output."""
    with tempfile.TemporaryDirectory() as name:
        network = PodNetwork(Path(name))
        with ControlPlane(api_server=[network.flag]) as plane:
            plane.install_crds(Path(__file__).parents[2] / "deploy/crds")
            asyncio.run(write(plane, network, Path(name)))


if __name__ == "__main__":
    main()
