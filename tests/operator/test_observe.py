"""The failure taxonomy, row by row: from what kubelet, scheduler and Job controller write to what is done about it."""

from copy import deepcopy
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from distilljob_core.lifecycle.decide import decide
from distilljob_core.lifecycle.model import End, JobState, Start
from distilljob_core.lifecycle.seen import AttemptStanding, Wishes
from distilljob_core.phases import StudentPhase
from distilljob_core.progress import Progress, Sight, SightReason, StudentSamples, scrape_failed
from distilljob_core.round_table import CloseView, RoundTable, RoundView, StudentView
from distilljob_core.spec.job import DistillJobSpec
from distilljob_core.termination import termination_message
from distilljob_operator.children import (
    JobChildren,
    labeled,
    owned,
    project_deployment,
    project_job,
    project_other,
    project_pod,
)
from distilljob_operator.observe import observe
from distilljob_operator.progress.look import Look
from distilljob_operator.sightings import Sightings

UID = "3f0c2a8e-0000-4000-8000-000000000001"
MANY = {"students": [{"name": name, "model": {"name": "x"}} for name in "abc"]}


def timestamp(seconds):
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def metadata(name, uid, owner, role, created, student=None, attempt=None):
    labels = {
        "distilljob.dev/job": "demo",
        "distilljob.dev/uid": UID,
        "distilljob.dev/role": role,
        "app.kubernetes.io/managed-by": "distilljob-operator",
    }
    if student:
        labels |= {"distilljob.dev/student": student, "distilljob.dev/attempt": str(attempt)}
    return {
        "name": name,
        "namespace": "team",
        "uid": uid,
        "resourceVersion": "812",
        "creationTimestamp": timestamp(created),
        "labels": labels,
        "ownerReferences": [{"uid": owner, "controller": True, "blockOwnerDeletion": False, "name": "x", "kind": "X"}],
    }


def condition(kind, status, reason=None, message=None):
    words = {"reason": reason, "message": message}
    return {"type": kind, "status": status, "lastProbeTime": None} | {key: text for key, text in words.items() if text}


def job_of(student, attempt, created):
    return {
        "metadata": metadata(
            f"demo-{student}-a{attempt}", f"job-{student}-{attempt}", UID, "student", created, student, attempt
        ),
        "spec": {"parallelism": 1, "completions": 1, "backoffLimit": 0, "suspend": False},
        "status": {"active": 1, "ready": 0, "terminating": 0, "uncountedTerminatedPods": {}},
    }


def pod_of(student, attempt, created):
    """A pod as the scheduler finds it."""
    made = metadata(
        f"demo-{student}-a{attempt}-x7k2p",
        f"pod-{student}-{attempt}",
        f"job-{student}-{attempt}",
        "student",
        created,
        student,
        attempt,
    )
    made["finalizers"] = ["batch.kubernetes.io/job-tracking"]
    return {
        "metadata": made,
        "spec": {"containers": [{"name": "student"}]},
        "status": {"phase": "Pending", "qosClass": "Burstable"},
    }


def run(pod, role="student"):
    """As kubelet writes it once the container runs."""
    pod["status"] = {
        "phase": "Running",
        "podIP": "10.1.0.7",
        "hostIP": "10.0.0.1",
        "conditions": [condition("PodScheduled", "True"), condition("Initialized", "True"), condition("Ready", "True")],
        "containerStatuses": [
            {
                "name": role,
                "ready": True,
                "restartCount": 0,
                "state": {"running": {"startedAt": pod["metadata"]["creationTimestamp"]}},
                "lastState": {},
            }
        ],
    }


def end(pod, exit_code, finished, reason=None, message=None, **status):
    """As kubelet writes it once the container has ended."""
    terminated = {
        "exitCode": exit_code,
        "reason": reason or ("Completed" if exit_code == 0 else "Error"),
        "startedAt": pod["metadata"]["creationTimestamp"],
        "finishedAt": timestamp(finished),
        "containerID": "containerd://c0ffee",
    }
    if message is not None:
        terminated["message"] = message
    container = pod["status"]["containerStatuses"][0]
    container |= {"ready": False, "state": {"terminated": terminated}}
    pod["status"] |= {"phase": "Succeeded" if exit_code == 0 else "Failed"} | status


def wait(pod, reason, message):
    """As kubelet writes it while the container cannot start."""
    pod["status"] |= {
        "conditions": [condition("PodScheduled", "True")],
        "containerStatuses": [
            {
                "name": "student",
                "ready": False,
                "restartCount": 0,
                "state": {"waiting": {"reason": reason, "message": message}},
                "lastState": {},
            }
        ],
    }


def delete(pod, asked, grace=120):
    pod["metadata"] |= {"deletionTimestamp": timestamp(asked + grace), "deletionGracePeriodSeconds": grace}


def disrupt(pod, reason, message="kubelet or controller's words"):
    pod["status"]["conditions"].append(condition("DisruptionTarget", "True", reason, message))


class World:
    """A cluster in raw JSON, one DistillJob in it, and its operator."""

    def __init__(self, **spec):
        students = [{"name": name, "model": {"name": "x"}} for name in "ab"]
        self.spec = DistillJobSpec.model_validate({"dataset": {"name": "digits"}, "students": students} | spec)
        self.now = 1_700_000_000.0
        self.watching_since = self.now
        self.state = JobState(UID)
        self.sightings = Sightings()
        self.wishes = Wishes()
        self.jobs, self.pods = {}, {}
        self.deployment = {
            "metadata": metadata("demo-aggregator", "deployment", UID, "aggregator", self.now),
            "spec": {"replicas": 1},
        }
        self.aggregator = pod_of("x", 0, self.now)
        self.aggregator["metadata"] = metadata("demo-aggregator-0", "pod-agg", "replicaset", "aggregator", self.now)
        run(self.aggregator, "aggregator")
        self.views = {student["name"]: self.view(student["name"]) for student in (spec.get("students") or students)}
        self.is_readable = True
        self.no_pod_messages = {}
        self.phase, self.age, self.progress = StudentPhase.INDEPENDENT, 0.0, None
        self.latest = None
        self.closes = []
        self.observation = None

    @staticmethod
    def view(name, attempt=0, pod_uid="", **changes):
        return StudentView(
            name=name,
            phase=StudentPhase.INDEPENDENT,
            attempt=attempt,
            pod_uid=pod_uid,
            ever_joined=attempt > 0,
            cycle=1,
            epoch=0.0,
            planned_epochs=1,
            step=0,
            loss=None,
            accuracy={},
            teacher_gain=None,
            samples_per_second=0.0,
            rows_durable=0,
            rows_total=1,
            barrier_seconds=0.0,
            last_heartbeat_timestamp_seconds=0.0,
            last_progress_timestamp_seconds=0.0,
            **{"parked_attempt": None, "owes_rows": True, "behind": False, "summary": None} | changes,
        )

    def look(self):
        """Look at the aggregator now."""
        table = RoundTable(
            job="demo",
            uid=UID,
            clock_timestamp_seconds=self.now,
            started_timestamp_seconds=self.now,
            cycles=2,
            open=RoundView(cycle=1, split="train", open_seconds=0.0),
            closes=self.closes,
            students=list(self.views.values()),
            complete=False,
            storage_full=None,
        )
        samples = {
            name: StudentSamples(view.attempt, view.pod_uid, self.phase, self.age, 0.0)
            for name, view in self.views.items()
            if view.attempt
        }
        progress = self.progress or Progress(Sight.VALUE, SightReason.FRESH, "", samples)
        if not self.is_readable:
            self.latest = Look(self.now, scrape_failed("connection refused"), message="connection refused")
        else:
            self.latest = Look(self.now, progress, self.now, self.now, 30.0, table)

    @property
    def children(self):
        aggregator = [] if self.aggregator is None else [self.aggregator]
        deployments = [] if self.deployment is None else [self.deployment]
        return JobChildren(
            jobs=owned(UID, map(project_job, self.jobs.values())),
            pods=labeled(UID, map(project_pod, [*self.pods.values(), *aggregator])),
            deployments=owned(UID, map(project_deployment, deployments)),
        )

    def decide(self, after=0.0):
        """Observe and decide once, and hold the lifecycle to its word."""
        self.now += after
        self.observation = observe(
            self.children,
            self.latest,
            self.sightings,
            now_seconds=self.now,
            watching_since_seconds=self.watching_since,
            no_pod_messages=self.no_pod_messages,
        )
        self.sightings = self.observation.sightings
        decision = decide(self.spec, self.wishes, self.observation.seen, self.state, self.now)
        again = decide(self.spec, self.wishes, self.observation.seen, decision.state, self.now)
        assert (again.actions, again.events, again.state) == ((), (), decision.state)
        self.state = decision.state
        return decision

    def settle(self, after=0.0):
        """Decide; look again if that is needed, and decide with it: what an operator does in a few milliseconds."""
        decision = self.decide(after)
        if self.observation.needs_look and not decision.actions:
            self.now += 0.01
            self.look()
            decision = self.decide()
            assert not self.observation.needs_look
        return decision

    def obey(self, decision):
        """Carry it out: what is started runs and joins, what is ended is gone."""
        for action in decision.actions:
            key = (action.student, action.attempt)
            if isinstance(action, Start):
                self.jobs[key] = job_of(*key, self.now)
                self.pods[key] = pod_of(*key, self.now)
                run(self.pods[key])
                self.join(*key)
            else:
                self.jobs.pop(key, None)
                self.pods.pop(key, None)
        return decision

    def join(self, student, attempt):
        self.views[student] = self.view(student, attempt, f"pod-{student}-{attempt}")

    def pod(self, student="a"):
        return self.pods[max(key for key in self.pods if key[0] == student)]

    def job(self, student="a"):
        return self.jobs[max(key for key in self.jobs if key[0] == student)]

    def lose_pod(self, student="a"):
        del self.pods[max(key for key in self.pods if key[0] == student)]

    def restart_operator(self):
        self.sightings, self.latest, self.watching_since = Sightings(), None, self.now

    def condition(self, kind):
        found = next(condition for condition in self.state.conditions if condition.type == kind)
        return found.status, found.reason.value, found.message

    def restarts(self, student="a"):
        counted = self.state.students[student].restarts
        causes = ("crash", "hang", "early", "node", "deleted")
        return {cause: getattr(counted, cause) for cause in causes if getattr(counted, cause)}

    def seen(self, student="a"):
        """What is seen of the newest attempt, the live before the dead."""
        attempts = self.observation.seen.students[student].attempts
        return max(attempts, key=lambda seen: (seen.attempt, seen.is_live))


def starts(decision):
    return [(action.student, action.attempt) for action in decision.actions if isinstance(action, Start)]


def ends(decision):
    return [(a.student, a.attempt, a.reason.value, a.manner.value) for a in decision.actions if isinstance(a, End)]


@pytest.fixture
def world():
    """Make a world in which all students run."""

    def make(**spec):
        made = World(**spec)
        made.look()
        made.obey(made.decide())
        made.look()
        made.decide(1.0)
        made.now += 60.0
        made.look()
        return made

    return make


def trainer_says(code, message, summary=None):
    return termination_message(code, message, summary)


# exit != 0, OOMKilled, Evicted, 83, an end nobody can explain: a crash


@pytest.mark.parametrize(
    ("exit_code", "kubelet", "reason"),
    [
        pytest.param(1, {}, "Error", id="error"),
        pytest.param(137, {"reason": "OOMKilled"}, "OOMKilled", id="out-of-memory"),
        pytest.param(128, {"reason": "StartError"}, "StartError", id="program-is-not-there"),
        pytest.param(83, {}, "Error", id="fenced-while-current"),
        pytest.param(75, {}, "Error", id="parked-without-a-directive"),
        pytest.param(143, {}, "Error", id="terminated-by-nobody"),
        pytest.param(137, {"reason": "ContainerStatusUnknown"}, "ContainerStatusUnknown", id="kubelet-lost-it"),
    ],
)
def test_a_nonzero_exit_is_a_crash_and_keeps_its_reason(world, exit_code, kubelet, reason):
    made = world()
    end(made.pod(), exit_code, made.now, **kubelet)
    assert starts(made.settle()) == [("a", 2)]
    assert made.restarts() == {"crash": 1}
    ended = made.state.students["a"].last_termination
    assert (ended.exit_code, ended.reason) == (exit_code, reason)


def test_evicted_without_a_disruption_is_a_crash_or_a_full_disk_would_loop_for_ever(world):
    made = world()
    words = "Pod ephemeral local storage usage exceeds the total limit of containers 1Gi. "
    end(made.pod(), 137, made.now)
    made.pod()["status"] |= {"reason": "Evicted", "message": words}
    assert starts(made.settle()) == [("a", 2)]
    assert made.restarts() == {"crash": 1}
    ended = made.state.students["a"].last_termination
    assert (ended.reason, ended.message) == ("Evicted", words.strip())


def test_a_pod_that_kubelet_turned_away_is_a_crash_with_kubelets_words(world):
    made = world()
    made.pod()["status"] = {"phase": "Failed", "reason": "OutOfcpu", "message": "Pod was rejected: Node didn't have"}
    made.settle()
    assert made.restarts() == {"crash": 1}
    assert made.state.students["a"].last_termination.reason == "OutOfcpu"


def test_the_second_kill_for_memory_says_to_raise_it(world):
    made = world()
    for wanted in ("False", "True"):
        end(made.pod(), 137, made.now, "OOMKilled")
        made.settle()
        assert made.condition("Degraded")[0] == wanted
        made.obey(made.settle(400.0))
        made.look()
        made.obey(made.settle())
    assert made.condition("Degraded")[1] == "StudentOutOfMemory"


# exit 80 to 89


@pytest.mark.parametrize(
    ("code", "reason"),
    [(80, "FatalSpec"), (81, "FatalData"), (82, "FatalMismatch"), (84, "TeacherGone"), (87, "AggregatorStateLost")],
)
def test_a_fatal_exit_fails_the_job_with_the_trainers_own_words(world, code, reason):
    made = world()
    end(made.pod(), code, made.now, message=trainer_says(code, "what to change"))
    made.settle()
    assert made.state.outcome.reason == reason
    assert "what to change" in made.state.outcome.message


@pytest.mark.parametrize(
    ("message", "is_fatal"), [("log line", False), (trainer_says(80, "no"), True), (trainer_says(1, ""), False)]
)
def test_a_fatal_code_of_the_users_own_trainer_counts_if_its_termination_record_agrees(world, message, is_fatal):
    made = world(students=[{"name": name, "model": {"name": "x"}, "command": ["train"]} for name in "ab"])
    end(made.pod(), 80, made.now, message=message)
    made.settle()
    assert (made.state.outcome is not None) == is_fatal
    assert made.restarts() == ({} if is_fatal else {"crash": 1})


def test_divergence_follows_its_policy(world):
    made = world(failurePolicy={"onDivergence": "DropStudent"}, quorum={"minimumStudents": 1})
    end(made.pod(), 85, made.now)
    assert made.settle().control.dropped == ("a",)


# exit 0 and 75


def test_exit_0_with_a_terminal_record_in_the_table_is_done(world, summary):
    made = world()
    end(made.pod(), 0, made.now)
    made.views["a"] = made.view("a", 1, "pod-a-1", summary=summary("a"), owes_rows=False)
    assert starts(made.settle()) == []
    assert made.state.students["a"].standing == "Done"
    assert made.restarts() == {}


def test_a_terminal_record_in_the_termination_message_is_enough_while_the_aggregator_is_away(world, summary):
    made = world()
    made.is_readable = False
    end(made.pod(), 0, made.now, message=trainer_says(0, "", summary("a")))
    made.settle()
    assert made.state.students["a"].standing == "Done"


def test_the_terminal_record_of_another_student_proves_nothing(world, summary):
    made = world()
    end(made.pod(), 0, made.now, message=trainer_says(0, "", summary("b")))
    made.settle()
    assert made.restarts() == {"early": 1}


def test_a_terminal_record_counts_whatever_the_exit_code(world, summary):
    made = world()
    end(made.pod(), 137, made.now)
    made.views["a"] = made.view("a", 1, "pod-a-1", summary=summary("a"))
    made.settle()
    assert made.state.students["a"].standing == "Done"
    assert made.restarts() == {}


def test_exit_0_without_a_record_proves_nothing_and_is_replaced(world):
    made = world()
    end(made.pod(), 0, made.now)
    assert starts(made.settle()) == [("a", 2)]
    assert made.restarts() == {"early": 1}


def test_exit_75_with_the_aggregators_directive_is_parked_and_no_restart(world):
    made = world()
    end(made.pod(), 75, made.now)
    made.views["a"] = made.view("a", 1, "pod-a-1", parked_attempt=1, owes_rows=False)
    assert starts(made.settle()) == []
    assert made.state.students["a"].standing == "Parked"
    assert made.restarts() == {}


@pytest.mark.parametrize("exit_code", [0, 75])
def test_an_end_that_only_the_aggregator_can_explain_waits_for_it(world, exit_code):
    made = world()
    made.is_readable = False
    end(made.pod(), exit_code, made.now)
    assert made.settle().actions == ()
    assert made.settle(600.0).actions == ()
    assert made.condition("StudentsReady")[1] == "WaitingForTable"


# Looks and ends


def test_an_end_is_not_judged_by_a_look_that_began_before_it(world, summary):
    made = world()
    end(made.pod(), 137, made.now)
    decision = made.decide(0.5)
    assert made.observation.needs_look
    assert decision.actions == ()
    assert made.restarts() == {}
    made.views["a"] = made.view("a", 1, "pod-a-1", summary=summary("a"))
    made.now += 0.1
    made.look()
    made.decide()
    assert made.state.students["a"].standing == "Done"


def test_one_failed_look_is_all_that_a_crash_waits_for(world):
    made = world()
    made.is_readable = False
    end(made.pod(), 1, made.now)
    assert starts(made.settle()) == [("a", 2)]
    assert made.restarts() == {"crash": 1}


def test_nobody_waits_for_a_look_at_an_aggregator_that_has_no_address(world):
    made = world()
    made.aggregator, made.latest = None, None
    end(made.pod(), 1, made.now)
    assert starts(made.decide()) == [("a", 2)]
    assert not made.observation.needs_look
    assert made.condition("ProgressObservable")[:2] == ("False", "MetricsUnavailable")


def test_a_crash_that_was_counted_blindly_is_taken_back_when_the_student_turns_out_to_be_done(world, summary):
    made = world()
    made.is_readable = False
    end(made.pod(), 137, made.now)
    made.obey(made.settle())
    assert made.restarts() == {"crash": 1}
    end(made.pod(), 1, made.now)
    made.settle(10.0)
    assert made.restarts() == {"crash": 2}
    made.is_readable = True
    made.views["a"] = made.view("a", 1, "pod-a-1", summary=summary("a"), owes_rows=False)
    made.look()
    assert starts(made.settle()) == []
    assert made.state.students["a"].standing == "Done"
    assert made.restarts() == {}
    assert made.state.students["a"].account.charged == 0


def test_the_last_restart_is_not_spent_blindly(world):
    made = world(failurePolicy={"maxRestartsPerStudent": 0})
    made.is_readable = False
    end(made.pod(), 1, made.now)
    assert made.settle().actions == ()
    assert made.state.outcome is None
    assert made.condition("StudentsReady")[1] == "WaitingForTable"
    made.is_readable = True
    made.look()
    made.decide()
    assert made.state.outcome.reason == "BudgetExhausted"


# Disruptions


@pytest.mark.parametrize(
    "reason", ["EvictionByEvictionAPI", "PreemptionByScheduler", "DeletionByTaintManager", "TerminationByKubelet"]
)
def test_a_disruption_is_the_nodes_and_costs_the_student_nothing(world, reason):
    made = world()
    delete(made.pod(), made.now)
    disrupt(made.pod(), reason)
    made.decide()
    end(made.pod(), 143, made.now + 5)
    assert starts(made.settle(5.0)) == [("a", 2)]
    assert made.restarts() == {"node": 1}
    assert made.state.students["a"].account.charged == 0
    assert made.state.students["a"].last_termination.reason == reason


def test_a_disrupted_pod_that_vanishes_is_the_nodes_too(world):
    made = world()
    delete(made.pod(), made.now)
    disrupt(made.pod(), "EvictionByEvictionAPI")
    made.decide()
    made.lose_pod()
    made.job()["status"] = {"failed": 1, "conditions": [condition("Failed", "True", "BackoffLimitExceeded")]}
    assert starts(made.settle()) == [("a", 2)]
    assert made.restarts() == {"node": 1}


# Deletions


def test_a_pod_that_is_gone_before_its_end_was_seen_was_deleted(world):
    made = world()
    made.decide()
    made.lose_pod()
    made.job()["status"] = {"failed": 1, "conditions": [condition("Failed", "True", "BackoffLimitExceeded")]}
    assert made.decide(0.5).actions == ()
    assert made.observation.needs_look
    assert starts(made.settle()) == [("a", 2)]
    assert made.restarts() == {"deleted": 1}
    assert made.state.students["a"].account.charged == 0


@pytest.mark.parametrize("exit_code", [143, 137])
def test_a_pod_that_somebody_deletes_is_no_crash_of_the_student(world, exit_code):
    made = world()
    delete(made.pod(), made.now)
    assert made.decide().actions == ()
    end(made.pod(), exit_code, made.now + 3)
    assert starts(made.settle(3.0)) == [("a", 2)]
    assert made.restarts() == {"deleted": 1}


@pytest.mark.parametrize("exit_code", [143, 137])
def test_a_pod_that_is_deleted_and_ends_between_two_looks_is_no_crash_of_the_student(world, exit_code):
    made = world()
    made.decide()
    delete(made.pod(), made.now)
    end(made.pod(), exit_code, made.now)
    assert starts(made.settle(1.0)) == [("a", 2)]
    assert made.restarts() == {"deleted": 1}


def test_a_crash_while_being_deleted_is_still_a_crash(world):
    made = world()
    delete(made.pod(), made.now)
    made.decide()
    end(made.pod(), 1, made.now + 3)
    made.settle(3.0)
    assert made.restarts() == {"crash": 1}


def test_an_ended_pod_that_is_cleared_away_afterwards_was_not_deleted(world):
    made = world()
    end(made.pod(), 143, made.now)
    made.decide()
    delete(made.pod(), made.now + 1)
    made.settle(1.0)
    assert made.restarts() == {"crash": 1}


@pytest.mark.parametrize(
    ("asked", "exit_code", "counted"),
    [(-10.0, 143, "deleted"), (10.0, 143, "crash"), (None, 143, "crash")],
    ids=["deleted-first", "ended-first", "never-deleted"],
)
def test_a_new_operator_tells_by_timestamps_which_came_first(world, asked, exit_code, counted):
    made = world()
    end(made.pod(), exit_code, made.now)
    if asked is not None:
        delete(made.pod(), made.now + asked)
    made.restart_operator()
    made.settle(600.0)
    assert made.restarts() == {counted: 1}


def test_a_pod_collected_while_no_operator_ran_was_deleted(world):
    made = world()
    made.lose_pod()
    del made.jobs["a", 1]
    made.restart_operator()
    assert made.decide().actions == ()
    made.look()
    assert starts(made.settle()) == [("a", 2)]
    assert made.restarts() == {"deleted": 1}


def test_an_attempt_whose_pod_came_and_went_unseen_was_deleted_and_neither_crashed_nor_waits_for_ever(world):
    made = world()
    made.state = replace(
        made.state, students=made.state.students | {"a": replace(made.state.students["a"], pod_uid="")}
    )
    made.lose_pod()
    made.job()["status"] = {"failed": 1, "conditions": [condition("Failed", "True", "BackoffLimitExceeded")]}
    made.restart_operator()
    made.look()
    assert made.settle().actions == ()
    assert made.observation.wakes[0] == made.now + 10.0
    assert starts(made.settle(10.0)) == [("a", 2)]
    assert made.restarts() == {"deleted": 1}


def test_an_attempt_that_left_nothing_but_its_join_is_not_started_again_under_its_number(world):
    made = world()
    made.state = replace(
        made.state, students=made.state.students | {"a": replace(made.state.students["a"], pod_uid="")}
    )
    made.lose_pod()
    del made.jobs["a", 1]
    made.now += 60.0
    made.restart_operator()
    made.look()
    assert starts(made.settle()) == [("a", 2)]
    assert made.restarts() == {"deleted": 1}


def test_an_attempt_that_never_came_to_life_is_started_again_under_its_number(world):
    made = world()
    made.state = replace(
        made.state, students=made.state.students | {"a": replace(made.state.students["a"], pod_uid="")}
    )
    made.views["a"] = made.view("a")
    made.lose_pod()
    del made.jobs["a", 1]
    made.now += 60.0
    made.restart_operator()
    made.look()
    assert starts(made.settle()) == [("a", 1)]
    assert made.restarts() == {}


def test_one_attempt_has_one_pod_and_a_second_one_of_its_job_is_ended(world):
    made = world()
    made.decide()
    second = deepcopy(made.pod())
    second["metadata"] |= {"uid": "pod-a-1-again", "name": "demo-a-a1-zzzzz"}
    made.pods["a", 1] = second
    decision = made.settle(1.0)
    assert ends(decision) == [("a", 1, "Stray", "Graceful")]
    assert starts(decision) == []
    assert made.restarts() == {"deleted": 1}
    assert made.state.students["a"].pod_uid == "pod-a-1"
    made.obey(decision)
    assert starts(made.settle(1.0)) == [("a", 2)]


def test_a_job_that_could_make_another_pod_goes_before_the_next_attempt(world):
    made = world()
    made.decide()
    made.lose_pod()
    decision = made.settle(1.0)
    assert ends(decision) == [("a", 1, "Stray", "Graceful")]
    made.obey(decision)
    assert starts(made.settle(1.0)) == [("a", 2)]
    assert made.restarts() == {"deleted": 1}


def test_the_next_attempt_waits_until_the_old_pod_is_gone_though_its_job_is(world):
    made = world(suspend=False)
    made.wishes = Wishes(suspend=True)
    assert [one[:3] for one in ends(made.decide())] == [("a", 1, "Suspended"), ("b", 1, "Suspended")]
    del made.jobs["a", 1], made.jobs["b", 1]
    for name in "ab":
        delete(made.pod(name), made.now)
    made.wishes = Wishes()
    assert starts(made.settle(1.0)) == []
    for name in "ab":
        end(made.pod(name), 143, made.now)
    assert starts(made.settle(1.0)) == [("a", 2), ("b", 2)]
    assert made.restarts() == {}


# Nodes


def test_a_pod_terminating_past_its_grace_is_unreachable_and_waited_for(world):
    made = world()
    delete(made.pod(), made.now, grace=120)
    disrupt(made.pod(), "DeletionByTaintManager")
    assert made.decide().actions == ()
    assert made.seen().standing is AttemptStanding.RUNNING
    assert made.observation.wakes == (made.latest.fresh_until_seconds, made.now + 150.0)
    made.look()
    assert made.decide(150.0).actions == ()
    assert made.seen().standing is AttemptStanding.UNREACHABLE
    assert made.condition("StudentsReady")[1] == "NodeUnreachable"
    assert made.decide(86_400.0).actions == ()
    made.lose_pod()
    made.job()["status"] = {"failed": 1}
    assert starts(made.settle()) == [("a", 2)]
    assert made.restarts() == {"node": 1}


@pytest.mark.parametrize("status", [{"reason": "NodeLost", "message": "Node n1 is unresponsive"}, {"phase": "Unknown"}])
def test_a_node_that_is_said_to_be_lost_is_unreachable_at_once(world, status):
    made = world()
    made.pod()["status"] |= status
    assert made.decide().actions == ()
    assert made.seen().standing is AttemptStanding.UNREACHABLE
    assert made.seen().reason in ("NodeLost", "NodeUnreachable")


def test_a_silent_node_is_given_up_where_the_user_opted_in(world):
    made = world(failurePolicy={"nodeLost": {"forceDeleteAfterSeconds": 60}})
    delete(made.pod(), made.now, grace=30)
    made.decide()
    made.look()
    made.decide(60.0)
    made.look()
    decision = made.decide(60.0)
    assert ends(decision) == [("a", 1, "NodeLost", "Force")]
    made.obey(decision)
    assert starts(made.settle()) == [("a", 2)]
    assert made.restarts() == {"node": 1}


# What cannot run yet


@pytest.mark.parametrize(
    ("reason", "message"),
    [
        ("ImagePullBackOff", 'Back-off pulling image "nowhere/x:1"'),
        ("ErrImagePull", "failed to pull and unpack image"),
        ("InvalidImageName", 'Failed to apply default image tag "X:y:z"'),
        ("CreateContainerConfigError", 'secret "demo-tls" not found'),
    ],
)
def test_what_kubelet_cannot_start_is_told_in_its_words_and_is_never_a_restart(world, reason, message):
    made = world()
    wait(made.pod(), reason, message)
    made.pod()["status"]["phase"] = "Pending"
    for _ in range(5):
        made.look()
        assert made.decide(300.0).actions == ()
    assert made.condition("StudentsReady") == ("False", "StudentsPending", f"a: {reason}: {message}")
    assert made.restarts() == {}


def test_an_unschedulable_pod_shows_the_schedulers_words(world):
    made = world()
    message = "0/3 nodes are available: 3 Insufficient nvidia.com/gpu. preemption: 0/3 nodes are available"
    made.pod()["status"] = {
        "phase": "Pending",
        "conditions": [condition("PodScheduled", "False", "Unschedulable", message)],
    }
    assert made.decide(300.0).actions == ()
    assert made.condition("StudentsReady")[2] == f"a: Unschedulable: {message}"


@pytest.mark.parametrize("reason", ["ContainerCreating", "PodInitializing"])
def test_a_pod_that_is_on_its_way_has_nothing_to_tell(world, reason):
    made = world()
    wait(made.pod(), reason, "")
    made.pod()["status"]["phase"] = "Pending"
    made.decide()
    assert (made.seen().standing, made.seen().reason) == (AttemptStanding.PENDING, "")


def test_a_job_without_a_pod_for_30_seconds_is_asked_why_and_shows_it(world):
    made = World()
    made.look()
    for action in made.decide().actions:
        made.jobs[action.student, 1] = job_of(action.student, 1, made.now)
    made.decide()
    assert made.observation.no_pod_jobs == ()
    assert made.now + 30.0 in made.observation.wakes
    made.decide(30.0)
    assert [job.name for job in made.observation.no_pod_jobs] == ["demo-a-a1", "demo-b-a1"]
    made.no_pod_messages = {"job-a-1": 'pods "demo-a-a1-" is forbidden: exceeded quota: gpus'}
    assert made.decide().actions == ()
    assert made.condition("StudentsReady")[2].startswith('a: NoPod: pods "demo-a-a1-" is forbidden: exceeded quota')
    assert made.restarts() == {}


def test_a_job_that_somebody_else_suspended_is_told_and_is_no_restart(world):
    made = World()
    made.look()
    for action in made.decide().actions:
        made.jobs[action.student, 1] = job_of(action.student, 1, made.now)
        made.jobs[action.student, 1]["spec"]["suspend"] = True
    made.decide()
    assert made.decide(300.0).actions == ()
    assert made.condition("StudentsReady")[2].startswith("a: JobSuspended: Job demo-a-a1 was suspended by somebody")
    assert made.observation.no_pod_jobs == ()


def test_a_job_that_is_being_deleted_lives_until_it_is_gone(world):
    made = world()
    made.decide()
    made.lose_pod()
    made.job()["metadata"]["deletionTimestamp"] = timestamp(made.now)
    decision = made.settle(1.0)
    assert (made.seen().standing, made.seen().reason) == (AttemptStanding.PENDING, "JobDeleting")
    assert starts(decision) == []


# Hangs, blindness


def test_a_student_without_a_step_beyond_its_limit_hangs_and_is_ended_with_its_evidence(world):
    made = world(failurePolicy={"hang": {"steadySeconds": 60}})
    made.age = 3600.0
    made.look()
    decision = made.decide()
    assert ("a", 1, "Hang", "KeepEvidence") in ends(decision)
    end(made.pod(), 143, made.now + 1, reason="Error")
    made.pod()["status"] |= {"reason": "DeadlineExceeded", "message": "Pod was active on the node longer than"}
    made.look()
    decision = made.settle(1.0)
    assert made.restarts() == {"hang": 1}


@pytest.mark.parametrize(
    "progress",
    [
        pytest.param(scrape_failed("no route"), id="missing"),
        pytest.param(Progress(Sight.NO_DATA, SightReason.CLOCK_MISSING, "no clock"), id="no-clock"),
        pytest.param(
            Progress(
                Sight.VALUE,
                SightReason.FRESH,
                students={"a": StudentSamples(1, "pod-a-1", StudentPhase.INDEPENDENT, None, 0.0)},
            ),
            id="not-a-number",
        ),
    ],
)
def test_whoever_is_blind_restarts_nobody(world, progress):
    made = world(failurePolicy={"hang": {"steadySeconds": 60, "startupSeconds": 60}})
    made.progress = progress
    made.views["b"] = made.view("b", 1, "pod-b-1")
    for _ in range(30):
        made.now += 60.0
        made.look()
        decision = made.decide()
        assert not [one for one in ends(decision) if one[0] == "a"]
    assert made.condition("ProgressObservable")[0] == "False"


def test_samples_of_a_dead_attempt_say_nothing_of_the_living(world):
    made = world(failurePolicy={"hang": {"steadySeconds": 60, "startupSeconds": 60}})
    made.age = 7200.0
    made.progress = Progress(
        Sight.VALUE,
        SightReason.FRESH,
        students={name: StudentSamples(0, "pod-old", StudentPhase.INDEPENDENT, 7200.0, 0.0) for name in "ab"},
    )
    for _ in range(30):
        made.now += 60.0
        made.look()
        assert made.decide().actions == ()


def test_a_look_becomes_stale_when_no_newer_one_comes(world):
    made = world(failurePolicy={"hang": {"steadySeconds": 100}})
    made.age = 3600.0
    made.look()
    made.decide()
    assert made.observation.wakes == (made.latest.fresh_until_seconds,)
    assert made.decide(31.0).actions == ()
    assert made.condition("ProgressObservable")[:2] == ("Unknown", "MetricsStale")
    assert made.decide(3600.0).actions == ()


def test_before_the_first_look_nothing_is_known(world):
    made = world()
    made.restart_operator()
    assert made.decide().actions == ()
    assert made.condition("ProgressObservable")[:2] == ("Unknown", "MetricsUnavailable")


def test_silence_is_timed_from_when_this_operator_first_saw_the_pod_run(world):
    made = world(failurePolicy={"hang": {"steadySeconds": 60}})
    made.age = 86_400.0
    made.restart_operator()
    made.look()
    made.decide()
    assert made.seen().started_seconds == made.now
    made.now += 59.0
    made.look()
    assert made.decide().actions == ()
    made.now += 1.0
    made.look()
    assert [reason for _, _, reason, _ in ends(made.decide())] == ["Hang", "Hang"]


def test_more_than_half_hung_of_three_restarts_nobody_at_first(world):
    made = world(**MANY, failurePolicy={"hang": {"steadySeconds": 100}})
    made.age = 3600.0
    made.look()
    made.decide()
    made.now += 101.0
    made.look()
    assert made.decide().actions == ()
    assert made.condition("Degraded")[:2] == ("True", "MassHang")


# The aggregator


def aggregator_waits(made, waiting, last=None):
    made.aggregator["status"]["conditions"] = [condition("Ready", "False")]
    made.aggregator["status"]["containerStatuses"][0] |= {
        "ready": False,
        "restartCount": 3,
        "state": {"waiting": waiting},
        "lastState": {"terminated": last} if last else {},
    }


def test_a_ready_aggregator_is_ready_since_this_operator_saw_it_run(world):
    made = world()
    made.decide()
    seen = made.observation.seen.aggregator
    assert (seen.exists, seen.ready, seen.message, seen.fatal_exit_code) == (True, True, "", None)
    began = seen.started_seconds
    made.aggregator["status"]["containerStatuses"][0]["restartCount"] = 1
    made.decide(50.0)
    assert made.observation.seen.aggregator.started_seconds == made.now > began


def test_an_aggregator_that_crashes_is_brought_back_and_nobody_is_restarted(world):
    made = world()
    last = {"exitCode": 1, "reason": "Error", "message": "boom", "finishedAt": timestamp(made.now)}
    aggregator_waits(made, {"reason": "CrashLoopBackOff", "message": "back-off 20s restarting failed container"}, last)
    made.is_readable = False
    made.look()
    assert made.decide().actions == ()
    assert made.condition("AggregatorReady") == ("False", "AggregatorUnavailable", "exited 1: Error: boom")
    assert made.state.outcome is None


@pytest.mark.parametrize(("code", "reason"), [(87, "AggregatorStateLost"), (80, "FatalSpec"), (82, "FatalMismatch")])
def test_an_aggregator_that_ends_with_what_no_restart_cures_fails_the_job(world, code, reason):
    made = world()
    last = {"exitCode": code, "reason": "Error", "message": trainer_says(code, "spool.bin was damaged")}
    aggregator_waits(made, {"reason": "CrashLoopBackOff"}, last)
    made.decide()
    assert made.state.outcome.reason == reason
    assert made.state.outcome.message == f"the aggregator exited {code}: Error: spool.bin was damaged"


def test_an_aggregator_whose_last_run_failed_and_that_runs_again_is_left_alone(world):
    made = world()
    made.aggregator["status"]["containerStatuses"][0] |= {"lastState": {"terminated": {"exitCode": 87}}}
    made.decide()
    assert made.state.outcome is None


def test_an_aggregator_that_forgot_closed_rounds_fails_the_job(world):
    made = world()
    made.closes = [CloseView(cycle=1, split="train", contributors=["a", "b"], weights=[1, 1], missing=[], last=False)]
    made.look()
    made.decide()
    made.closes = []
    made.look()
    made.decide()
    assert made.state.outcome.reason == "AggregatorStateLost"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(lambda made: None, "it has no pod", id="no-pod"),
        pytest.param(
            lambda made: made.deployment.update(
                status={"conditions": [condition("ReplicaFailure", "True", "FailedCreate", "exceeded quota")]}
            ),
            "exceeded quota",
            id="quota",
        ),
    ],
)
def test_an_aggregator_without_a_pod_says_why(world, change, message):
    made = world()
    made.aggregator = None
    change(made)
    made.decide()
    assert made.condition("AggregatorReady")[2] == message
    assert made.observation.seen.aggregator.exists


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(
            lambda pod: aggregator_pending(pod, "False", "Unschedulable", "0/3 nodes"),
            "Unschedulable: 0/3 nodes",
            id="a",
        ),
        pytest.param(lambda pod: aggregator_pending(pod, "True"), "pod demo-aggregator-0 is starting", id="b"),
        pytest.param(
            lambda pod: pod["status"].update(conditions=[]),
            "pod demo-aggregator-0 runs, and does not serve yet",
            id="c",
        ),
        pytest.param(lambda pod: delete(pod, 1_700_000_000), "pod demo-aggregator-0 is leaving", id="d"),
    ],
)
def test_an_aggregator_that_is_not_ready_says_why(world, change, message):
    made = world()
    change(made.aggregator)
    made.decide()
    assert made.condition("AggregatorReady")[2] == message


def aggregator_pending(pod, scheduled, reason=None, message=None):
    pod["status"] = {"phase": "Pending", "conditions": [condition("PodScheduled", scheduled, reason, message)]}


def test_an_aggregator_is_there_until_its_last_pod_is_gone(world):
    made = world()
    made.deployment = None
    made.decide()
    assert made.observation.seen.aggregator.exists
    made.aggregator = None
    made.decide()
    assert not made.observation.seen.aggregator.exists


# Incarnations


def test_what_an_earlier_job_of_the_same_name_left_is_not_seen():
    raw = job_of("a", 1, 0.0)
    raw["metadata"]["ownerReferences"][0]["uid"] = "another"
    raw["metadata"]["labels"]["distilljob.dev/uid"] = "another"
    assert owned(UID, [project_job(raw)]) == ()
    assert labeled(UID, [project_job(raw)]) == ()


def test_an_object_without_owner_or_labels_belongs_to_nobody():
    other = project_other({"metadata": {"name": "x", "namespace": "team", "uid": "u"}})
    assert (other.owner_uid, other.job, other.attempt, other.is_deleting) == ("", "", 0, False)


def test_a_pod_that_nobody_has_looked_at_yet_is_pending():
    raw = pod_of("a", 1, 0.0)
    del raw["status"]
    pod = project_pod(raw)
    assert (pod.phase, pod.ip, pod.end, pod.waits_for) == ("Pending", "", None, "")
