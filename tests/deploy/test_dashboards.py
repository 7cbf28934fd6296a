"""The dashboards as Grafana reads them, and the metrics that they and the alerts name."""

import json
import re
import shutil
import subprocess
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry

from distilljob_aggregator.metrics import AggregatorMetrics, RoundTableCollector
from distilljob_core.phases import StudentPhase
from distilljob_core.round_table import RoundTable, StudentView
from distilljob_operator.jobs import Jobs
from distilljob_operator.metrics import OperatorMetrics, StateCollector
from distilljob_trainer.metrics import StudentMetrics
from helms import CHART
from rig.build import CACHE, alone

CASES = Path(__file__).parent / "rules_test.yaml"
GRAFANA = Path(__file__).parent / "grafana"
NAMES = ("fleet", "job")
PANELS = [
    pytest.param(panel, id=f"{name}-{panel['title']}")
    for name in NAMES
    for panel in json.loads((CHART / f"dashboards/{name}.json").read_text())["panels"]
]
SUBSTITUTES = {"$__rate_interval": "1m", "$namespace": "team", "$distilljob": "digits"}
TYPED = """\
import type {{ Dashboard }} from '@grafana/schema';
// JSON holds the values of enumerations, not their names.
type Plain<T> = T extends string ? `${{T}}` : T extends (infer U)[] ? Plain<U>[]
  : T extends object ? {{ [K in keyof T]: Plain<T[K]> }} : T;
export const {name}: Plain<Dashboard> = {content};
"""


def load(name: str) -> dict[str, Any]:
    return json.loads((CHART / f"dashboards/{name}.json").read_text())


@pytest.mark.parametrize("panel", PANELS)
def test_a_panel_says_what_it_shows_and_takes_any_prometheus(panel: dict[str, Any]):
    assert panel["title"]
    assert len(panel["description"]) > 10
    assert panel["fieldConfig"]["defaults"]["unit"]
    sources = [panel["datasource"], *(target["datasource"] for target in panel["targets"])]
    assert all(source == {"type": "prometheus", "uid": "${datasource}"} for source in sources)


@pytest.mark.parametrize("name", NAMES)
def test_panels_do_not_lie_over_each_other(name: str):
    taken: set[tuple[int, int]] = set()
    for panel in load(name)["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert max(x for x, _ in cells) < 24
        assert not cells & taken, panel["title"]
        taken |= cells


def test_every_query_parses(tmp_path: Path):
    queries = [target["expr"] for name in NAMES for panel in load(name)["panels"] for target in panel["targets"]]
    for name, value in SUBSTITUTES.items():
        queries = [query.replace(name, value) for query in queries]
    rules = [{"record": f"query:{number}", "expr": query} for number, query in enumerate(queries)]
    file = tmp_path / "rules.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": rules}]}))
    ended = subprocess.run(["promtool", "check", "rules", str(file)], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert len(queries) > 40


@pytest.mark.parametrize(
    ("name", "title", "legend"),
    [("fleet", "Hang margin, least left", "team/digits cnn"), ("job", "Hang margin", "cnn")],
)
def test_the_hang_margin_is_that_of_students_that_run(tmp_path: Path, name: str, title: str, legend: str):
    (panel,) = [panel for panel in load(name)["panels"] if panel["title"] == title]
    (target,) = panel["targets"]
    query = target["expr"].replace("$namespace", "team").replace("$distilljob", "digits")
    hangs, gone = yaml.safe_load(CASES.read_text())["tests"][:2]
    sample = {"labels": '{namespace="team",distilljob="digits",student="cnn"}', "value": 0.6}
    tests = []
    for scene, samples in ((hangs, [sample]), (gone, [])):
        expected = {"expr": query, "eval_time": "6m", "exp_samples": samples}
        tests.append({**scene, "alert_rule_test": [], "promql_expr_test": [expected]})
    file = tmp_path / "test.yaml"
    file.write_text(yaml.safe_dump({"rule_files": [], "evaluation_interval": "30s", "tests": tests}))
    ended = subprocess.run(["promtool", "test", "rules", str(file)], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    labels = {"namespace": "team", "distilljob": "digits", "student": "cnn"}
    assert re.sub(r"\{\{(\w+)\}\}", lambda found: labels[found[1]], target["legendFormat"]) == legend


def test_every_metric_that_is_named_is_one_that_a_process_shows():
    named = set()
    for file in (CHART / "rules.yaml", *(CHART / f"dashboards/{name}.json" for name in NAMES)):
        named |= set(re.findall(r"\b(distilljob_[a-z_]+)", file.read_text()))
    shown = {f"{name}{suffix}" for name in exposed() for suffix in ("", "_total", "_bucket", "_sum", "_count")}
    assert named - shown == set()


def exposed() -> set[str]:
    """Collect the names of all metrics of operator, aggregator and trainer."""
    operator, aggregator, trainer = OperatorMetrics().registry, CollectorRegistry(), CollectorRegistry()
    operator.register(StateCollector(Jobs()))
    AggregatorMetrics(aggregator)
    aggregator.register(RoundTableCollector(_table, lambda: 0))
    StudentMetrics(trainer)
    return {family.name for registry in (operator, aggregator, trainer) for family in registry.collect()}


def _table() -> RoundTable:
    student = StudentView(
        name="a",
        phase=StudentPhase.DISTILLING,
        attempt=1,
        pod_uid="",
        ever_joined=True,
        cycle=1,
        epoch=1.0,
        planned_epochs=2,
        step=1,
        loss=None,
        accuracy={"holdout": 0.5},
        teacher_gain=0.1,
        samples_per_second=1.0,
        rows_durable=0,
        rows_total=1,
        barrier_seconds=0.0,
        last_heartbeat_timestamp_seconds=1.0,
        last_progress_timestamp_seconds=1.0,
        parked_attempt=None,
        owes_rows=False,
        behind=False,
        summary=None,
    )
    return RoundTable(
        job="a",
        uid="a",
        clock_timestamp_seconds=1.0,
        started_timestamp_seconds=1.0,
        cycles=1,
        open=None,
        closes=[],
        students=[student],
        complete=False,
        storage_full=None,
    )


def test_grafana_s_own_types_fit_the_dashboards_and_refuse_a_broken_one(tmp_path: Path):
    assert compiled(tmp_path, {name: load(name) for name in NAMES}) == ""
    misspelled, mistyped = load("job"), load("job")
    misspelled["pannels"] = misspelled.pop("panels")
    assert "pannels" in compiled(tmp_path, {"job": misspelled})
    mistyped["panels"][0]["gridPos"]["h"] = "8"
    assert "'string' is not assignable to type 'number'" in compiled(tmp_path, {"job": mistyped})


def compiled(folder: Path, dashboards: dict[str, Any]) -> str:
    """Compile dashboards as typed constants; give the compiler's complaints."""
    modules = grafana_types()
    (folder / "node_modules").unlink(missing_ok=True)
    (folder / "node_modules").symlink_to(modules)
    files = []
    for name, content in dashboards.items():
        file = folder / f"{name}.ts"
        file.write_text(TYPED.format(name=name, content=json.dumps(content)))
        files.append(str(file))
    command = ["node", str(modules / "typescript/bin/tsc"), "--noEmit", "--strict", "--skipLibCheck"]
    ended = subprocess.run([*command, *files], cwd=folder, capture_output=True, text=True, check=False)
    return ended.stdout


def grafana_types() -> Path:
    """Install the packages once per lock file."""
    lock = GRAFANA / "package-lock.json"
    folder = CACHE / "grafana" / sha256(lock.read_bytes()).hexdigest()[:16]
    with alone(CACHE / "grafana" / "lock"):
        if not (folder / "ready").exists():
            folder.mkdir(parents=True, exist_ok=True)
            for file in (lock, GRAFANA / "package.json"):
                shutil.copy(file, folder)
            subprocess.run(["npm", "ci", "--ignore-scripts", "--silent", "--no-audit"], cwd=folder, check=True)
            (folder / "ready").touch()
    return folder / "node_modules"
