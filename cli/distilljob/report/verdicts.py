"""What the page says first: where a run stands, what it showed, what several runs can and cannot show."""

from collections.abc import Sequence

from distilljob.report.configuration import same_but_seed
from distilljob.report.run import Run
from distilljob.report.words import counted, listed, percent
from distilljob_core.measurements import EpochMeasured


def standing(run: Run) -> str:
    """Say how far an unfinished or failed run came; empty for a finished one."""
    outcome = run.state.outcome if run.state else None
    if outcome is not None and outcome.kind == "Failed":
        return f"This run failed: {outcome.reason}, {outcome.message}. {_how_far(run)}"
    if run.result is not None:
        return ""
    last = next((event.reason for event in reversed(run.events) if event.reason.startswith("Runner")), None)
    told = "was stopped and goes on with the same command" if last == "RunnerStopped" else "has not finished"
    return f"This run {told}. {_how_far(run)}"


def _how_far(run: Run) -> str:
    done = {student.name: len(student.of(EpochMeasured)) for student in run.students}
    if not any(done.values()):
        return "No student has finished an epoch."
    least, most = min(done.values()), max(done.values())
    epochs = str(most) if least == most else f"{least} to {most}"
    cycles = len(run.cycles())
    return (
        f"Its students have finished {epochs} of {run.planned_epochs} epochs and closed {cycles} of "
        f"{counted(run.job.spec.method.cycles, 'cycle')}; everything below is as of then."
    )


def exactness(run: Run) -> str:
    """Say whether the same command would give the same bits, and why not."""
    if run.result is None:
        return "Whether this run is exact is known at its end."
    if run.result.exact:
        return (
            "Exact: every cycle was closed by all students and nothing had to go on under another numeric identity, so "
            "the same command gives the same weights, bit for bit, on such a machine."
        )
    return f"Not exact: {'; '.join(run.result.inexact_reasons)}."


def comparison(runs: Sequence[Run]) -> str:
    """Put several runs in words, with n, and without a claim that n does not carry."""
    groups = same_but_seed(runs)
    if len(groups) == 1:
        return _repetitions(groups[0])
    sizes = [len(group) for group in groups]
    each = f"n = {sizes[0]} each" if len(set(sizes)) == 1 else "n = " + listed([str(size) for size in sizes])
    return (
        f"{counted(len(runs), 'run')} of {len(groups)} configurations, {each}. Numbers side by side are no test: "
        "whether one configuration is better takes several seeds of each and a comparison planned before."
    )


def _repetitions(group: Sequence[Run]) -> str:
    found = [run.result.ensemble.accuracy for run in group if run.result and run.result.ensemble]
    spread = f": the ensemble reaches {percent(min(found))} to {percent(max(found))} on the test set" if found else ""
    seeds = {run.job.spec.training.seed for run in group}
    if len(seeds) == 1:
        return f"{counted(len(group), 'run')} of one configuration and one seed{spread}. They count as one: n = 1."
    return (
        f"{counted(len(group), 'run')} of one configuration, {counted(len(seeds), 'seed')} (n = {len(seeds)}){spread}."
    )
