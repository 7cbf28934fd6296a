"""A real Prometheus in the cluster's network, with scrape configurations made of the chart's own monitors.

Debian builds Prometheus without service discovery for Kubernetes, so pods reach it by a file, with the labels that its
own discovery would give them; what is kept of them, and how it is named, are the monitors' relabelings.
"""

import json
import re
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import yaml

from real.site import CHART, Object, Site, until
from rig.build import RigError

ADDRESS = "127.0.0.1:9090"
DASHBOARDS = CHART / "dashboards"
FETCH = """\
import json, sys, urllib.error, urllib.request
def fetch(url):
    try:
        return json.loads(urllib.request.urlopen(url, timeout=30).read())
    except urllib.error.HTTPError as error:
        return json.loads(error.read())
print(json.dumps([fetch(url) for url in json.load(sys.stdin)]))
"""
_POD = "__meta_kubernetes_pod_"


@dataclass(frozen=True)
class Query:
    """One query of a panel, with a dashboard's variables still in it."""

    dashboard: str
    panel: Object
    expression: str
    legend: str


@dataclass(frozen=True)
class Prometheus:
    """A running Prometheus."""

    site: Site
    started_seconds: float

    def serves(self) -> bool:
        """Whether it answers."""
        try:
            return bool(self.get("status/buildinfo"))
        except RigError:
            return False

    def get(self, path: str, **parameters: str | float) -> Any:
        """Ask the HTTP API; give the data of its answer."""
        return self.get_all([(path, parameters)])[0]

    def get_all(self, questions: Sequence[tuple[str, Mapping[str, str | float]]]) -> list[Any]:
        """Ask several questions at once, from inside the cluster's network."""
        urls = [f"http://{ADDRESS}/api/v1/{path}?{urlencode(parameters)}" for path, parameters in questions]
        script = f"import io, sys\nsys.stdin = io.StringIO({json.dumps(urls)!r})\n{FETCH}"
        ended = self.site.cluster.run_in_box([sys.executable, "-c", script], limit_seconds=120)
        if ended.returncode != 0:
            raise RigError(ended.stderr)
        answers = json.loads(ended.stdout)
        for url, answer in zip(urls, answers, strict=True):
            assert answer["status"] == "success", f"{url}: {answer}"
        return [answer["data"] for answer in answers]

    def ranges(self, queries: Sequence[Query], namespace: str, job: str) -> list[list[Object]]:
        """Run queries over all of this Prometheus' time; give the series of each."""
        span = {"start": self.started_seconds, "end": time.time(), "step": 2}
        asked = [("query_range", {"query": substituted(each.expression, namespace, job), **span}) for each in queries]
        return [data["result"] for data in self.get_all(asked)]

    def firing(self, alert: str) -> list[Object]:
        """Give the labels of an alert's firing instances."""
        alerts = self.get("alerts")["alerts"]
        named = [each for each in alerts if each["labels"]["alertname"] == alert]
        return [each["labels"] for each in named if each["state"] == "firing"]


@contextmanager
def start_prometheus(site: Site) -> Iterator[Prometheus]:
    """Start it; inside, it serves."""
    folder = site.cluster.folder / "prometheus"
    folder.mkdir()
    configuration, targets = folder / "prometheus.yml", folder / "targets.json"
    configuration.write_text(json.dumps(_configuration(site, targets)))
    flags = [f"--config.file={configuration}", f"--storage.tsdb.path={folder / 'data'}"]
    prometheus = Prometheus(site, time.time())
    over = threading.Event()
    discovery = threading.Thread(target=_discover, args=(site, targets, over))
    discovery.start()
    process = site.cluster.start_in_box("prometheus", ["prometheus", *flags, f"--web.listen-address={ADDRESS}"])
    try:
        until(prometheus.serves, "Prometheus", 60)
        yield prometheus
    finally:
        process.kill()
        over.set()
        discovery.join()


def _discover(site: Site, targets: Path, over: threading.Event) -> None:
    """Write down all pods once a second, as the discovery of Prometheus would show them."""
    while not over.wait(1.0):
        try:
            listed = site.kubectl("get", "pods", "--all-namespaces", "--output=json")
        except RigError:  # what it found before is still the best that is known
            continue
        found = [target for pod in json.loads(listed)["items"] for target in _targets(pod)]
        written = targets.with_suffix(".new")
        written.write_text(json.dumps(found))
        written.replace(targets)


def _targets(pod: Object) -> Iterator[Object]:
    address = pod["status"].get("podIP")
    labels = {f"{_POD}label_{_label(name)}": value for name, value in pod["metadata"].get("labels", {}).items()}
    labels |= {
        "__meta_kubernetes_namespace": pod["metadata"]["namespace"],
        f"{_POD}name": pod["metadata"]["name"],
        f"{_POD}phase": pod["status"].get("phase", ""),
    }
    for port in (port for each in pod["spec"]["containers"] for port in each.get("ports", []) if address):
        own = {f"{_POD}container_port_name": port.get("name", "")}
        yield {"targets": [f"{address}:{port['containerPort']}"], "labels": labels | own}


def queries(dashboard: str) -> list[Query]:
    """Read the queries of a dashboard."""
    panels = json.loads((DASHBOARDS / f"{dashboard}.json").read_text())["panels"]
    return [
        Query(dashboard, panel, target["expr"], target["legendFormat"])
        for panel in panels
        for target in panel["targets"]
    ]


def substituted(expression: str, namespace: str, job: str) -> str:
    """Put values in the places of Grafana's variables; rates need some samples, which come once a second here."""
    values = {"$__rate_interval": "15s", "$namespace": namespace, "$distilljob": job}
    for name, value in values.items():
        expression = expression.replace(name, value)
    return expression


def _configuration(site: Site, targets: Path) -> Object:
    monitors = _monitors(site)
    jobs = []
    for monitor in monitors:
        (endpoint,) = monitor["spec"].get("endpoints") or monitor["spec"]["podMetricsEndpoints"]
        jobs.append(
            {
                "job_name": monitor["metadata"]["name"],
                "honor_labels": endpoint.get("honorLabels", False),
                "file_sd_configs": [{"files": [str(targets)]}],
                "relabel_configs": [
                    *_selected(monitor["spec"]["selector"]["matchLabels"], endpoint["port"]),
                    {"source_labels": ["__meta_kubernetes_namespace"], "target_label": "namespace"},
                    {"source_labels": [f"{_POD}name"], "target_label": "pod"},
                    *(_snake_case(each) for each in endpoint.get("relabelings", [])),
                ],
            }
        )
    return {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(CHART / "rules.yaml")],
        "scrape_configs": jobs,
    }


def _monitors(site: Site) -> list[Object]:
    """Render the chart's monitors as the Prometheus Operator would get them."""
    images = [f"--set=images.{part}.repository=none" for part in ("operator", "aggregator", "trainer")]
    wanted = ["--set=monitoring.serviceMonitor.enabled=true", "--set=monitoring.podMonitor.enabled=true"]
    rendered = site.helm(
        *("template", "distilljob", str(CHART), "--show-only=templates/monitors.yaml"),
        *("--api-versions=monitoring.coreos.com/v1", *images, *wanted),
    )
    return [each for each in yaml.safe_load_all(rendered) if each]


def _selected(labels: Mapping[str, str], port: str) -> list[Object]:
    """Keep what a monitor selects, as the Prometheus Operator writes it."""
    kept = {f"{_POD}label_{_label(name)}": value for name, value in labels.items()}
    kept |= {f"{_POD}container_port_name": port, f"{_POD}phase": "Running"}
    return [{"action": "keep", "source_labels": [name], "regex": re.escape(value)} for name, value in kept.items()]


def _label(name: str) -> str:
    return re.sub("[^a-zA-Z0-9_]", "_", name)


def _snake_case(relabeling: Mapping[str, Any]) -> Object:
    return {re.sub("[A-Z]", lambda found: f"_{found[0].lower()}", key): value for key, value in relabeling.items()}
