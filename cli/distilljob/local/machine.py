"""What the runner can see and do on this machine: students' attempts and the aggregator as processes."""

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final
from uuid import NAMESPACE_URL, uuid5

from distilljob.local.aggregator import AggregatorKeeper
from distilljob.local.host import least_used
from distilljob.local.logs import error_lines
from distilljob.local.processes import Child, start
from distilljob.local.scrape import Unreadable, scrape
from distilljob.local.settings import Settings
from distilljob.run_directory.folder import RunFolder, write_json
from distilljob_core import names
from distilljob_core.exit_codes import ExitCode
from distilljob_core.lifecycle.model import Control, End, JobState, Manner, Standing, Start
from distilljob_core.lifecycle.restarts import cut_message
from distilljob_core.lifecycle.seen import AggregatorSeen, AttemptSeen, AttemptStanding, Seen, StudentSeen
from distilljob_core.plan import aggregator_process, student_process
from distilljob_core.progress import Progress, scrape_failed
from distilljob_core.round_table import RoundTable
from distilljob_core.spec.job import DistillJob
from distilljob_core.spec.resolve import resolve_students

GRACE_SECONDS: Final = 120
"""Time to save after SIGTERM, as a pod gets by default."""
SIGNALED: Final = 128
"""Exit codes above it name a signal."""
LOOK_SECONDS: Final = 0.05


class Machine:
    """Looks at everything, and changes what the lifecycle decided."""

    def __init__(
        self, job: DistillJob, folder: RunFolder, settings: Settings, before: JobState, inherited_lock: int
    ) -> None:
        self._job = job
        self._folder = folder
        self._settings = settings
        self._inherited_lock = inherited_lock
        self._students = {student.name: student for student in resolve_students(job.spec)}
        self._attempts: dict[tuple[str, int], Child] = {}
        self._gpus_in_use: list[tuple[str, Child]] = []
        self._told: Mapping[str, object] | None = None
        self._lost = lost_attempts(before)
        self.aggregator = AggregatorKeeper(self._start_aggregator)
        self.table: RoundTable | None = None

    def look(self, state: JobState, now_seconds: float, watching_since_seconds: float) -> Seen:
        """See every process first and the aggregator's table after: an end is judged by a younger table.

        Attempts that have ended are forgotten once the state has moved past them.
        """
        self._attempts = {
            (name, attempt): child
            for (name, attempt), child in self._attempts.items()
            if child.poll(now_seconds) is None or attempt >= state.students[name].attempt
        }
        attempts = {name: self._attempts_of(name) for name in self._students}
        self.table, progress = self._ask_aggregator(now_seconds)
        if self.table is not None:  # what is lost is judged when it can be told from what is done or parked
            for name, lost in self._lost.items():
                attempts[name] += (lost,) if lost.attempt == state.students[name].attempt else ()
        child = self.aggregator.child
        aggregator = AggregatorSeen(
            exists=child is not None,
            ready=self.table is not None,
            started_seconds=None if child is None else child.started_seconds,
            message=progress.message,
        )
        students = {name: StudentSeen(seen) for name, seen in attempts.items()}
        return Seen(watching_since_seconds, students, aggregator, progress, self.table)

    def start_attempt(self, action: Start, now_seconds: float) -> None:
        """Start one attempt; one that exists already is left alone."""
        key = (action.student, action.attempt)
        if key in self._attempts:
            return
        student = self._students[action.student]
        process = student_process(
            self._job,
            student,
            action.attempt,
            pod_uid(self._job.metadata.uid, *key),
            f"file:{self._folder.grpc_address}",
            self._folder.places(self._settings.data, student.name),
        )
        gpu = self._free_gpu() if student.gpus else None
        device = self._settings.device if gpu is not None else "cpu"
        child = start(
            process,
            [f"--device={device}"],
            {"OMP_NUM_THREADS": str(self._settings.threads), "CUDA_VISIBLE_DEVICES": gpu or ""},
            self._folder.logs / f"{student.name}-a{action.attempt}.log",
            inherited_lock=self._inherited_lock,
            now_seconds=now_seconds,
        )
        self._attempts[key] = child
        if gpu is not None:
            self._gpus_in_use.append((gpu, child))

    def end_attempt(self, action: End, now_seconds: float) -> None:
        """End one attempt; one that has ended, or is ending, is left alone."""
        if (child := self._attempts.get((action.student, action.attempt))) is not None:
            child.terminate(now_seconds + (0 if action.manner is Manner.FORCE else GRACE_SECONDS))

    def keep_aggregator(self, wanted: bool, now_seconds: float) -> Child | None:
        """Make the aggregator run, or leave; gives one that was started now."""
        return self.aggregator.keep(wanted, now_seconds, GRACE_SECONDS)

    def leave(self, now: Callable[[], float], must_hurry: Callable[[], bool]) -> None:
        """Ask everything to save and go, the aggregator last, and wait until it has gone; in a hurry, kill."""
        for group in (self._attempts.values(), filter(None, [self.aggregator.child])):
            children = list(group)
            for child in children:
                child.terminate(now() + GRACE_SECONDS)
            while alive := [child for child in children if child.poll(now()) is None]:
                for child in alive if must_hurry() else ():
                    child.kill()
                time.sleep(LOOK_SECONDS)

    def tell(self, control: Control) -> None:
        """Write the control file where it does not say this yet."""
        wanted = {"stopAfterCycle": control.stop_after_cycle, "dropped": list(control.dropped)}
        if self._told != wanted:
            write_json(self._folder.control, wanted)
            self._told = wanted

    def processes(self) -> list[Child]:
        """List every process that has not been seen to end."""
        running = [child for child in self._attempts.values() if child.exit_code is None]
        return running + ([self.aggregator.child] if self.aggregator.child else [])

    def _attempts_of(self, name: str) -> tuple[AttemptSeen, ...]:
        return tuple(
            attempt_seen(self._job.metadata.uid, student, attempt, child)
            for (student, attempt), child in self._attempts.items()
            if student == name
        )

    def _ask_aggregator(self, now_seconds: float) -> tuple[RoundTable | None, Progress]:
        if self.aggregator.child is None:
            return None, scrape_failed("the aggregator does not run")
        try:
            found = scrape(self._folder.http_address, self._job.metadata.uid)
        except Unreadable as error:
            return None, scrape_failed(str(error))
        self.aggregator.has_answered = True
        return found.table, found.progress

    def _free_gpu(self) -> str | None:
        """Pick the GPU with the fewest living students; None = this machine has none for us."""
        self._gpus_in_use = [(gpu, child) for gpu, child in self._gpus_in_use if child.exit_code is None]
        gpus = self._settings.gpus
        return least_used(gpus, [gpu for gpu, _ in self._gpus_in_use]) if gpus else None

    def _start_aggregator(self, now_seconds: float) -> Child:
        number = 1 + len(list(self._folder.logs.glob("aggregator-*.log")))
        return start(
            replace(aggregator_process(self._job, self._folder.places(self._settings.data)), attempt=number),
            [],
            {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
            self._folder.logs / f"{names.AGGREGATOR}-{number}.log",
            inherited_lock=self._inherited_lock,
            now_seconds=now_seconds,
        )


def pod_uid(job_uid: str, student: str, attempt: int) -> str:
    """Name one start of a student; a repeated order for the same attempt is the same start."""
    return str(uuid5(NAMESPACE_URL, f"{names.student_identity(job_uid, student)}/{attempt}"))


def attempt_seen(job_uid: str, student: str, attempt: int, child: Child) -> AttemptSeen:
    """Describe one process as the lifecycle knows attempts."""
    ended = child.exit_code is not None
    return AttemptSeen(
        attempt=attempt,
        standing=AttemptStanding.ENDED if ended else AttemptStanding.RUNNING,
        pod_uid=pod_uid(job_uid, student, attempt),
        started_seconds=child.started_seconds,
        ended_seconds=child.ended_seconds,
        exit_code=child.exit_code,
        message=last_words(child),
    )


def last_words(child: Child) -> str:
    """Give the error, on one line, of a process that failed by itself; signals leave no time for one."""
    if child.exit_code in (None, ExitCode.DONE) or (child.exit_code or 0) > SIGNALED:
        return ""
    return cut_message(" ".join(error_lines(child.log)))


def lost_attempts(before: JobState) -> dict[str, AttemptSeen]:
    """Describe what an earlier runner left behind: its processes ended with it, as pods end with a drained node."""
    return {
        name: AttemptSeen(
            attempt=student.attempt,
            standing=AttemptStanding.ENDED,
            pod_uid=student.pod_uid,
            message="ended with an earlier runner",
            disrupted=True,
        )
        for name, student in before.students.items()
        if student.standing is Standing.LIVE and student.pod_uid
    }
