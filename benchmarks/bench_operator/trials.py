"""What no peer does: hangs, blindness, kills in mid-work, and an upgrade under live jobs."""

import asyncio
import random
import time
from collections.abc import Callable

from bench_operator import groups
from bench_operator.crashes import one_of_each_group, spread
from bench_operator.distilljob import Contest
from bench_operator.load import Result
from bench_operator.pages import Play
from bench_operator.world import Attempt, Member

SEED = 5
OBSERVABLE = "ProgressObservable"
NEXT_IMAGE = "bench/trainer:next"
WATCHED_CRASHES = 5
"""Pods that crash while the operator is down; it is back when all of them are replaced."""


async def all_trials(contest: Contest) -> Result:
    """Take them one after another, all jobs live."""
    return {
        "hang": await hang(contest),
        "blind": await blind(contest),
        "kill": await kill(contest),
        "upgrade": await upgrade(contest),
    }


async def hang(contest: Contest) -> Result:
    """Let one student of each of some jobs make no more steps."""
    options = contest.options
    names = [f"hang-{number}" for number in range(options.hangs)]
    await contest.bring_up(names, options.hang_seconds)
    await asyncio.sleep(options.hang_seconds / 2)  # they train for a while
    since: dict[Attempt, float] = {}
    for attempt in contest.world.current():
        if attempt.member.group in names and attempt.member.name == "a":
            _play(contest, attempt.member).stuck_seconds = time.time()
            since[attempt] = time.monotonic()
            contest.crasher.injected[attempt.member] += 1
            await asyncio.sleep(options.poll_seconds / options.hangs)
    world, bound_seconds = contest.world, options.hang_seconds + 2 * options.poll_seconds
    limit_seconds = 3 * bound_seconds
    await world.until(lambda: all(one.next in world.running_seconds for one in since), limit_seconds)
    replaced = [one for one in since if one.next in world.running_seconds]
    contest.crasher.num_lost += len(since) - len(replaced)
    seconds = [world.running_seconds[one.next] - since[one] for one in replaced]
    return {"hangs": len(since), "bound_seconds": bound_seconds, "to_running": spread(seconds)}


async def blind(contest: Contest) -> Result:
    """Hide a student that makes no steps behind every kind of blindness: nobody may be restarted for it."""
    options = contest.options
    await contest.bring_up(["blind"], options.hang_seconds)
    member = Member(contest.namespaces[0], "blind", "a")
    first = Attempt(member, 1)
    await contest.crasher.measure([first])  # so that there is a dead attempt to lie about
    stage, told = contest.pages.stage(*member[:2]), {}
    for lie in options.lies:
        await _until_observable(contest, lambda status: status == "True", 60)
        _play(contest, member).stuck_seconds = time.time()
        stage.lie = lie
        noticed_seconds = await _until_observable(contest, lambda status: status != "True", options.lie_seconds)
        if noticed_seconds is not None:
            await asyncio.sleep(max(0.0, options.lie_seconds - noticed_seconds))
        _play(contest, member).stuck_seconds = None
        _play(contest, member).joined_seconds = time.time()
        stage.lie = None
        stage.kept.clear()
        told[lie.value] = {"condition_after_seconds": noticed_seconds}
    attempts = [one.number for one in contest.world.uids if one.member[:2] == member[:2]]
    restarts = sum(number > 2 for number in attempts)
    bound_seconds = 2 * options.poll_seconds
    return {
        "seconds": options.lie_seconds * len(options.lies),
        "bound_seconds": bound_seconds,
        "restarts": restarts,
        **told,
    }


def _play(contest: Contest, member: Member) -> Play:
    return contest.pages.stage(*member[:2]).students[member.name]


async def _until_observable(contest: Contest, holds: Callable[[str], bool], limit_seconds: float) -> float | None:
    """Wait until the condition holds; after how long, or None."""
    path = f"{groups.DISTILLJOBS.format(contest.namespaces[0])}/blind"
    begun_seconds = time.monotonic()
    while time.monotonic() < begun_seconds + limit_seconds:
        job = await contest.client.get(path)
        told = {one["type"]: one["status"] for one in job["status"]["conditions"]}
        if holds(told.get(OBSERVABLE, "")):
            return round(time.monotonic() - begun_seconds, 2)
        await asyncio.sleep(0.2)
    return None


async def kill(contest: Contest) -> Result:
    """SIGKILL the operator again and again while pods crash, once a second, before and after and in between."""
    options, crasher, world = contest.options, contest.crasher, contest.world
    choose, resyncs, crashed = random.Random(SEED), [], []
    for _ in range(options.kills):
        end_seconds = time.monotonic() + options.kill_gap_seconds
        while time.monotonic() < end_seconds:
            attempt = choose.choice(world.current())
            crashed.append(attempt)
            await crasher.crash([attempt])
            await asyncio.sleep(min(1.0, options.kill_gap_seconds / 2))
        contest.operator.kill()
        resyncs.append(await _come_back(contest, choose))
    result = await crasher.until_replaced(crashed)
    return {"kills": options.kills, "jobs": options.jobs, "resync_seconds": spread(resyncs), **result}


async def _come_back(contest: Contest, choose: random.Random) -> float:
    """Crash pods while nobody looks, start the operator, and wait for all replacements."""
    live = contest.world.current()
    chosen = choose.sample(live, min(WATCHED_CRASHES, len(live)))
    await contest.crasher.crash(chosen)
    await contest.world.until(lambda: all(one in contest.world.failed_seconds for one in chosen), 30)
    begun_seconds = time.monotonic()
    contest.operator.launch()
    await contest.crasher.until_replaced(chosen, 120)
    return time.monotonic() - begun_seconds


async def upgrade(contest: Contest) -> Result:
    """Stop the operator and start one with another image; only new attempts may know of it."""
    world, crasher = contest.world, contest.crasher
    before = {seen.uid for member, seen in world.pods.items() if world.live[member]}
    await contest.operator.stop()
    begun_seconds = time.monotonic()
    contest.operator.launch(f"--trainer-image={NEXT_IMAGE}")
    [attempt] = one_of_each_group(world.current(), 1)
    old_uid = world.pods[attempt.member].uid
    await crasher.measure([attempt])
    seconds = time.monotonic() - begun_seconds
    await asyncio.sleep(2 * contest.options.poll_seconds)
    after = {seen.uid for member, seen in world.pods.items() if world.live[member]}
    pod = world.pods[attempt.member]
    shown = await contest.client.get(f"/api/v1/namespaces/{pod.namespace}/pods/{pod.name}")
    return {
        "uid_changes": len(before - after - {old_uid}),
        "seconds": round(seconds, 2),
        "new_image": shown["spec"]["containers"][0]["image"] == NEXT_IMAGE,
    }
