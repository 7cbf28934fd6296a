"""A DistillJob on the real node: what it does, what became of it, what it leaves."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distilljob_core.phases import StudentPhase
from distilljob_core.round_table import RoundTable
from distilljob_core.spec.kubectl_yaml import read_yaml
from real.site import ROOT, Object, Site, until
from rig.build import RigError

DIGITS = ROOT / "examples/01-digits.yaml"
LIMIT_SECONDS = 420.0


def example(name: str) -> Object:
    """Give the first example under another name."""
    job = dict(read_yaml(DIGITS.read_text()))
    job["metadata"]["name"] = name
    return job


def digits(name: str, **spec: Any) -> Object:
    """Give the first example, long enough to be disturbed, with changes to its spec."""
    job = example(name)
    job["spec"]["method"] |= {"cycles": 2, "distillEpochs": 60}
    job["spec"]["checkpoints"] = {"intervalSeconds": 5}
    job["spec"] |= spec
    return job


@dataclass(frozen=True)
class Job:
    """One job in its namespace."""

    site: Site
    namespace: str
    name: str

    def apply(self, manifest: Object) -> None:
        """Apply it as a user does."""
        self.kubectl("apply", "--filename=-", stdin=json.dumps(manifest))

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """Run kubectl in the job's namespace."""
        return self.site.kubectl(f"--namespace={self.namespace}", *arguments, stdin=stdin)

    def patch(self, **spec: Any) -> None:
        """Change fields of the spec."""
        self.kubectl("patch", "distilljob", self.name, "--type=merge", f"--patch={json.dumps({'spec': spec})}")

    @property
    def status(self) -> Object:
        """Its status; empty while there is none."""
        got: Object = json.loads(self.kubectl("get", "distilljob", self.name, "--output=json"))
        return got.get("status", {})

    def row(self, student: str) -> Object:
        """One student's row of the status."""
        return next((row for row in self.status.get("students", []) if row["name"] == student), {})

    def condition(self, kind: str) -> Object:
        """One condition; empty while it is not there."""
        return next((each for each in self.status.get("conditions", []) if each["type"] == kind), {})

    def pods(self, role: str, *more: str) -> list[Object]:
        """All pods of a role, oldest first."""
        selector = ",".join((f"distilljob.dev/job={self.name}", f"distilljob.dev/role={role}", *more))
        listed = self.kubectl("get", "pods", f"--selector={selector}", "--output=json")
        return sorted(
            json.loads(listed)["items"], key=lambda pod: (pod["metadata"]["creationTimestamp"], pod["metadata"]["name"])
        )

    def pod_of(self, student: str) -> str:
        """The name of the newest pod of a student."""
        pods = self.pods("student", f"distilljob.dev/student={student}")
        assert pods, f"{self.name} has no pod of {student}"
        newest = max(pods, key=lambda pod: int(pod["metadata"]["labels"]["distilljob.dev/attempt"]))
        return str(newest["metadata"]["name"])

    @property
    def aggregator_pod(self) -> str:
        """The name of the aggregator's pod."""
        return str(self.pods("aggregator")[-1]["metadata"]["name"])

    def student_uids(self) -> dict[str, str]:
        """The pods of its students, with their UIDs; the aggregator's goes when the job ends."""
        return {pod["metadata"]["name"]: pod["metadata"]["uid"] for pod in self.pods("student")}

    def table(self) -> RoundTable | None:
        """The aggregator's round table through the API server; None while nobody answers."""
        pods = [pod for pod in self.pods("aggregator") if pod["status"].get("phase") == "Running"]
        if not pods:
            return None
        where = f"/api/v1/namespaces/{self.namespace}/pods/{pods[-1]['metadata']['name']}:8471/proxy/v1/status"
        try:
            return RoundTable.model_validate_json(self.site.kubectl("get", "--raw", where))
        except RigError:  # an aggregator that is not there yet has many ways to say so
            return None

    def is_at_work(self, student: str) -> bool:
        """Whether a student distils: most of its time, with a teacher to lose.

        Its independent epochs are over in a moment here, and then it waits for the others.
        """
        table = self.table()
        rows = [row for row in table.students if row.name == student] if table else []
        return any(row.phase is StudentPhase.DISTILLING for row in rows)

    def until_at_work(self, student: str) -> None:
        """Wait until a student distils."""
        until(lambda: self.is_at_work(student), f"{student} at work in {self.name}", LIMIT_SECONDS)

    def until_complete(self, limit_seconds: float = LIMIT_SECONDS) -> None:
        """Wait until the job has its result; fail at once where it has failed."""

        def has_ended() -> bool:
            failed = self.condition("Failed")
            assert failed.get("status") != "True", f"{self.name} failed: {failed}"
            return self.condition("Complete").get("status") == "True"

        until(has_ended, f"end of {self.name}", limit_seconds)

    def restarts(self) -> dict[str, int]:
        """What the status counts, without zeros."""
        return _without_zeros(self.status)

    def restarts_of_students(self) -> dict[str, dict[str, int]]:
        """What the status counts for each student that was replaced, without zeros."""
        counted = {row["name"]: _without_zeros(row) for row in self.status["students"]}
        return {name: restarts for name, restarts in counted.items() if restarts}

    def download(self, folder: Path, *flags: str) -> Path:
        """Fetch results with the command line."""
        self.site.distilljob("download", self.name, str(folder), f"--namespace={self.namespace}", *flags)
        return folder

    def weights(self, folder: Path) -> dict[str, str]:
        """Fetch everything; give the sha256 of every student's weights after the last epoch."""
        results = self.download(folder, "--all") / "results"
        files = sorted(results.glob("*.safetensors"))
        assert len(files) >= len(self.status["students"]), f"weights are missing: {files}"
        return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}

    def story(self) -> str:
        """What somebody needs to know who finds that it went wrong."""
        told = self.kubectl("get", "events", "--sort-by=.lastTimestamp")
        return f"{self.kubectl('get', 'distilljob', self.name, '--output=yaml')}\n{told}"

    def delete(self) -> None:
        """Delete the job with what it kept, and wait for its pods: the machine is for the next one."""
        self.kubectl("delete", "distilljob", self.name, "--wait=true")
        selector = f"--selector=distilljob.dev/job={self.name}"
        self.kubectl("wait", "--for=delete", "pod", selector, "--timeout=120s")
        self.kubectl("delete", "pvc", selector, "--wait=false")


def _without_zeros(counted: Object) -> dict[str, int]:
    return {cause: count for cause, count in counted.get("restarts", {}).items() if count}


@contextmanager
def applied(site: Site, namespace: str, manifest: Object) -> Iterator[Job]:
    """Apply a job; it goes at the end, however that comes, and before it goes in failure its story is printed."""
    job = Job(site, namespace, manifest["metadata"]["name"])
    job.apply(manifest)
    try:
        yield job
    except BaseException:
        print(job.story())
        raise
    finally:
        job.delete()
