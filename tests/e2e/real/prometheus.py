"""A real Prometheus in the cluster's network, with scrape configurations made of the chart's own monitors."""

import json
import re
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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


def start_prometheus(site: Site) -> Prometheus:
    """Start it, and wait until it serves."""
    folder = site.cluster.folder / "prometheus"
    folder.mkdir()
    configuration = folder / "prometheus.yml"
    configuration.write_text(json.dumps(_configuration(site)))
    flags = [f"--config.file={configuration}", f"--storage.tsdb.path={folder / 'data'}"]
    started_seconds = time.time()
    site.cluster.start_in_box("prometheus", ["prometheus", *flags, f"--web.listen-address={ADDRESS}"])
    prometheus = Prometheus(site, started_seconds)

    def serves() -> bool:
        try:
            return bool(prometheus.get("status/buildinfo"))
        except RigError:
            return False

    until(serves, "Prometheus", 60)
    return prometheus


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


def _configuration(site: Site) -> Object:
    monitors = _monitors(site)
    discovery = {"role": "pod", "kubeconfig_file": str(site.cluster.kubeconfig())}
    jobs = []
    for monitor in monitors:
        (endpoint,) = monitor["spec"].get("endpoints") or monitor["spec"]["podMetricsEndpoints"]
        jobs.append(
            {
                "job_name": monitor["metadata"]["name"],
                "honor_labels": endpoint.get("honorLabels", False),
                "kubernetes_sd_configs": [discovery],
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
    kept = {f"{_POD}label_{re.sub(r'[^a-zA-Z0-9]', '_', name)}": value for name, value in labels.items()}
    kept |= {f"{_POD}container_port_name": port, f"{_POD}phase": "Running"}
    return [{"action": "keep", "source_labels": [name], "regex": re.escape(value)} for name, value in kept.items()]


def _snake_case(relabeling: Mapping[str, Any]) -> Object:
    return {re.sub("[A-Z]", lambda found: f"_{found[0].lower()}", key): value for key, value in relabeling.items()}
