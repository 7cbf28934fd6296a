"""The commands on a job that is there already, in a cluster or on this machine, and `submit`."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from distilljob.cluster.place import Place
from distilljob.cluster.results import Part
from distilljob.options import (
    Context,
    JobName,
    JobOrRun,
    JobPath,
    Json,
    Kubeconfig,
    MaybeJobOrRun,
    Namespace,
    Settings,
    complete_process,
    examples,
)

jobs = typer.Typer()

CLUSTER = "Jobs in a cluster"
ANYWHERE = "Jobs in a cluster, and runs on this machine"


def _run_directory(name: str, place: Place) -> Path | None:
    """Say which folder is meant; None = a job in a cluster."""
    from distilljob.run_directory.find import names_run

    return None if place.is_named or not names_run(name) else Path(name)


@jobs.command(
    rich_help_panel=CLUSTER,
    epilog=examples("submit job.yaml", "submit job.yaml -n team-a --set method.cycles=8"),
)
def submit(
    file: JobPath,
    settings: Settings = [],  # noqa: B006 - typer copies it
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Give a job to the cluster; again, after a change to the file.

    The same file changes nothing; a changed one changes what may still be changed, or says what may not.
    """
    from distilljob.cluster.submit import run_submit

    raise typer.Exit(run_submit(file, settings, Place(namespace, context, kubeconfig)))


@jobs.command(
    rich_help_panel=ANYWHERE,
    epilog=examples("status", "status digits -n team-a --watch", "status runs/digits --json | jq .phase"),
)
def status(
    job: MaybeJobOrRun = None,
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Show it again whenever it changes, to the end.")
    ] = False,
    as_json: Json = False,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Say how a job stands, student by student, and what to do next. Reads only."""
    place = Place(namespace, context, kubeconfig)
    if job is not None and (directory := _run_directory(job, place)):
        from distilljob.watch import status as local

        raise typer.Exit(local.run_status(directory, watch=watch, as_json=as_json))
    from distilljob.cluster import show

    raise typer.Exit(show.run_status(job, place, watch=watch, as_json=as_json))


@jobs.command(
    rich_help_panel=ANYWHERE,
    epilog=examples("top digits", "top runs/digits"),
)
def top(
    job: JobOrRun,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Show the round table of a job, live, until it ends; q leaves. Piped, it is shown once."""
    place = Place(namespace, context, kubeconfig)
    if directory := _run_directory(job, place):
        from distilljob.watch import top as local

        raise typer.Exit(local.run_top(directory))
    from distilljob.cluster import show

    raise typer.Exit(show.run_top(job, place))


@jobs.command(
    rich_help_panel=ANYWHERE,
    epilog=examples("logs digits cnn -f", "logs digits cnn --attempt 1 | jq .loss", "logs runs/digits aggregator"),
)
def logs(
    job: JobOrRun,
    name: Annotated[
        str,
        typer.Argument(
            metavar="STUDENT",
            help="A student, or aggregator; of a local run also runner.",
            show_default=False,
            autocompletion=complete_process,
        ),
    ],
    attempt: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Which attempt. [dim]default: the newest one[/]")
    ] = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on with what comes, over later attempts, to the end.")
    ] = False,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Print what a process of a job has said: readable on a terminal, and as it was written when piped."""
    place = Place(namespace, context, kubeconfig)
    if directory := _run_directory(job, place):
        from distilljob.watch import logs as local

        raise typer.Exit(local.run_logs(directory, name, attempt, follow=follow))
    from distilljob.cluster import logs as remote

    raise typer.Exit(remote.run_logs(job, name, attempt, place, follow=follow))


@jobs.command(
    rich_help_panel=CLUSTER,
    epilog=examples("wait digits --timeout 2h && echo done", "wait digits --for suspended"),
)
def wait(
    job: JobName,
    goal: Annotated[
        Literal["complete", "training", "suspended"], typer.Option("--for", help="What to wait for.")
    ] = "complete",
    timeout: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Such as 90s, 30m, 1h30m. [dim]default: no limit[/]", show_default=False),
    ] = None,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Wait until a job is complete.

    The exit code is 1 if it fails before, and 124 if it takes too long.
    """
    from distilljob.cluster.wait import run_wait

    raise typer.Exit(run_wait(job, Place(namespace, context, kubeconfig), goal, timeout))


@jobs.command(rich_help_panel=CLUSTER, epilog=examples("suspend digits"))
def suspend(job: JobName, namespace: Namespace = None, context: Context = None, kubeconfig: Kubeconfig = None) -> None:
    """Save a job and give everything back but its volumes."""
    from distilljob.cluster.wishes import run_suspend

    raise typer.Exit(run_suspend(job, Place(namespace, context, kubeconfig), suspend=True))


@jobs.command(rich_help_panel=CLUSTER, epilog=examples("resume digits"))
def resume(job: JobName, namespace: Namespace = None, context: Context = None, kubeconfig: Kubeconfig = None) -> None:
    """Let a suspended job go on where it stopped."""
    from distilljob.cluster.wishes import run_suspend

    raise typer.Exit(run_suspend(job, Place(namespace, context, kubeconfig), suspend=False))


@jobs.command(
    rich_help_panel=ANYWHERE,
    epilog=examples("finish digits", "finish runs/digits --after-cycle 4"),
)
def finish(
    job: JobOrRun,
    after_cycle: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="N", help="The last cycle. [dim]default: the open one[/] The last one planned takes it back."
        ),
    ] = None,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """End a job early, and well: the last cycle is distilled, and everything is published.

    Learning rates stay those of the whole job. Works on a stopped or suspended one too; it counts when that goes on.
    """
    place = Place(namespace, context, kubeconfig)
    if directory := _run_directory(job, place):
        from distilljob.watch import finish as local

        raise typer.Exit(local.run_finish(directory, after_cycle))
    from distilljob.cluster import wishes

    raise typer.Exit(wishes.run_finish(job, place, after_cycle))


@jobs.command(rich_help_panel=CLUSTER, epilog=examples("restart digits cnn"))
def restart(
    job: JobName,
    student: Annotated[
        str,
        typer.Argument(
            metavar="STUDENT", help="A student at work.", show_default=False, autocompletion=complete_process
        ),
    ],
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """End a student's attempt; the next one goes on from its checkpoint.

    It saves first, and never counts as a failure.
    """
    from distilljob.cluster.wishes import run_restart

    raise typer.Exit(run_restart(job, student, Place(namespace, context, kubeconfig)))


@jobs.command(
    rich_help_panel=CLUSTER,
    epilog=examples("download digits results/", "download digits results/ --ensemble", "download digits all/ --all"),
)
def download(
    job: JobName,
    directory: Annotated[
        Path, typer.Argument(metavar="DIR", help="Becomes the job's run directory.", show_default=False)
    ],
    best: Annotated[bool, typer.Option("--best", help="The best student. [dim]default[/]")] = False,
    ensemble: Annotated[bool, typer.Option("--ensemble", help="The ensemble and its members.")] = False,
    everything: Annotated[bool, typer.Option("--all", help="Every file.")] = False,
    image: Annotated[
        str | None,
        typer.Option(
            metavar="IMAGE",
            help="With Python, for the pod that reads. [dim]default: that of the job's own pods[/]",
            show_default=False,
        ),
    ] = None,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Fetch weights and measurements of a job that is complete.

    Every file is compared by sha256. The same command again fetches what is missing. `distilljob report DIR`,
    distilljob.read and distilljob.load take DIR as they take the directory of a local run.
    """
    from distilljob.cluster.download import run_download
    from distilljob.errors import BadInput

    flags: dict[Part, bool] = {"best": best, "ensemble": ensemble, "all": everything}
    asked = [part for part, is_asked in flags.items() if is_asked] or ["best"]
    if len(asked) > 1:
        raise BadInput("--best, --ensemble and --all exclude each other; --all has everything")
    raise typer.Exit(run_download(job, directory, Place(namespace, context, kubeconfig), asked[0], image))


@jobs.command(rich_help_panel=CLUSTER, epilog=examples("delete digits"))
def delete(job: JobName, namespace: Namespace = None, context: Context = None, kubeconfig: Kubeconfig = None) -> None:
    """Delete a job and all that was made of it.

    Volumes go or stay as the job's retention says: results stay unless it says otherwise.
    """
    from distilljob.cluster.wishes import run_delete

    raise typer.Exit(run_delete(job, Place(namespace, context, kubeconfig)))
