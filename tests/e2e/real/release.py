"""distilljob as a user installs it: the chart of this checkout with the real Helm."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from real.site import CHART, Site, packages_for_students
from rig.build import RigError

NAMESPACE = "distilljob-system"
NAME = "distilljob"
TAG = "e2e"
GRACE_SECONDS = 15
"""A frozen process is killed after it; small networks are saved within a second."""


@dataclass(frozen=True)
class Release:
    """What is installed."""

    site: Site

    def install(self, *arguments: str, chart: Path = CHART, **changes: Any) -> None:
        """Install or upgrade, and wait until the operator serves."""
        values = self.site.cluster.folder / "values.json"
        values.write_text(json.dumps(_values() | changes))
        self.site.helm(
            *("upgrade", NAME, str(chart), "--install", f"--namespace={NAMESPACE}", f"--values={values}"),
            *("--wait", "--timeout=120s", *arguments),
        )

    def uninstall(self) -> None:
        """Uninstall, and wait until everything that goes is gone."""
        self.site.helm("uninstall", NAME, f"--namespace={NAMESPACE}", "--wait", "--timeout=120s")

    @property
    def operator_pod(self) -> str:
        """The name of the operator's pod."""
        selector = f"--selector=app.kubernetes.io/instance={NAME},app.kubernetes.io/component=operator"
        return self.site.kubectl("get", "pods", "-n", NAMESPACE, selector, "-o", "name").strip().removeprefix("pod/")

    def operator_metrics(self) -> str:
        """What the operator tells of itself and of jobs; nothing while it does not answer."""
        try:
            return self.site.kubectl(
                "get", "--raw", f"/api/v1/namespaces/{NAMESPACE}/pods/{self.operator_pod}:8080/proxy/metrics"
            )
        except RigError:
            return ""


def _values() -> dict[str, Any]:
    """Give values for two cores, where three students would not find a CPU each."""
    return {
        "images": {
            "operator": {"repository": "localhost/distilljob-operator", "tag": TAG},
            "aggregator": {"repository": "localhost/distilljob-aggregator", "tag": TAG},
            "trainer": {"repository": "localhost/distilljob-trainer", "tag": TAG},
            "pullPolicy": "Never",
        },
        "operator": {"pollSeconds": 1},
        "jobs": {
            "students": packages_for_students()
            | _resources("1", "900Mi")
            | {"terminationGracePeriodSeconds": GRACE_SECONDS},
            "aggregator": _resources("1", "500Mi"),
        },
    }


def own_packages() -> dict[str, Any]:
    """Give the values for jobs whose image has everything that it needs."""
    jobs: dict[str, Any] = _values()["jobs"]
    return jobs | {"students": {key: jobs["students"][key] for key in ("resources",)}}


def _resources(cpu: str, memory: str) -> dict[str, Any]:
    return {"resources": {"requests": {"cpu": "100m", "memory": "200Mi"}, "limits": {"cpu": cpu, "memory": memory}}}
