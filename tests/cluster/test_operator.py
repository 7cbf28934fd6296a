"""A DistillJob on a real API server, from kubectl apply to its result."""

from harness.jobs import condition, distilljob, student, until_job
from harness.students import Student, run_to_the_end
from rig.api import DEPLOYMENTS, DISTILLJOBS, EVENTS, JOBS, PODS


async def test_a_job_runs_to_its_result(api, namespace, operator, aggregators, summary):
    await api.create(DISTILLJOBS, distilljob("group"), namespace)
    aggregator = await aggregators.start(api, namespace, "group")
    students = [await Student.of_pod(api, aggregator, namespace, name, 1) for name in "ab"]
    for one in students:
        await one.join()
    await until_job(api, namespace, "group", lambda job: condition(job, "Progressing")[0] == "True")
    await run_to_the_end(students, summary)
    for one in students:
        one.leave()
        await api.annotate(PODS, one.pod_name, namespace, exit_code="0")
    job = await until_job(api, namespace, "group", lambda job: condition(job, "Complete")[0] == "True")
    result = job["status"]["result"]
    assert (result["bestStudent"], result["accuracy"], result["exact"]) == ("a", 0.9, True)
    assert job["status"]["restartsTotal"] == 0
    await api.until(DEPLOYMENTS, lambda left: not left, namespace)
    assert await api.list(PODS, namespace, selector="distilljob.dev/role=student")


async def test_a_finished_job_goes_when_its_time_is_over(api, namespace, operator, aggregators):
    await api.create(DISTILLJOBS, distilljob("group", "a", ttlSecondsAfterFinished=1), namespace)
    await aggregators.start(api, namespace, "group")
    pods = await api.until(
        PODS,
        lambda pods: pods and pods[0]["status"]["phase"] == "Running",
        namespace,
        selector="distilljob.dev/student",
    )
    await api.annotate(PODS, pods[0]["metadata"]["name"], namespace, exit_code="80")
    job = await until_job(api, namespace, "group", lambda job: condition(job, "Failed")[0] == "True")
    assert condition(job, "Failed")[1] == "FatalSpec"
    await api.until(DISTILLJOBS, lambda left: not left, namespace)


async def test_a_crashed_student_is_replaced_once(api, namespace, operator, aggregators):
    await api.create(DISTILLJOBS, distilljob("group"), namespace)
    aggregator = await aggregators.start(api, namespace, "group")
    first = await Student.of_pod(api, aggregator, namespace, "a", 1)
    await first.join()
    first.leave()
    await api.annotate(PODS, first.pod_name, namespace, exit_code="1", termination_message="ran into a wall")
    await Student.of_pod(api, aggregator, namespace, "a", 2)
    job = await until_job(api, namespace, "group", lambda job: student(job, "a").get("attempt") == 2)
    assert student(job, "a")["restarts"] == {"crash": 1}
    assert student(job, "a")["lastTermination"]["exitCode"] == 1
    assert student(job, "b")["attempt"] == 1
    names = [one["metadata"]["name"] for one in await api.list(JOBS, namespace)]
    assert sorted(names) == ["group-a-a1", "group-a-a2", "group-b-a1"]
    told = [event for event in await api.list(EVENTS, namespace) if event["reason"] == "StudentCrashed"]
    assert len(told) == 1
    assert "exited 1" in told[0]["message"]
