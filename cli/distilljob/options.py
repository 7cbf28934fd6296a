"""Arguments and options that several commands have."""

from pathlib import Path
from typing import Annotated

import typer

from distilljob.cluster.place import Place
from distilljob.program import program_name

EXIT_CODES = (
    "Exit codes: 0 done · 1 the job failed · 2 bad input, nothing started · 3 not found · 124 wait timed out · "
    "143 ended by SIGTERM or Ctrl-C, the same command goes on."
)


def examples(*commands: str) -> str:
    """Write examples for the end of a command's help, under the name that the program goes by."""
    title = "Example" if len(commands) == 1 else "Examples"
    return "\n\n".join([f"{title}:", *(f"{program_name()} {command}" for command in commands)])


JobPath = Annotated[Path, typer.Argument(metavar="FILE", help="A DistillJob file, YAML or JSON.", show_default=False)]
Settings = Annotated[
    list[str],
    typer.Option(
        "--set",
        metavar="PATH=VALUE",
        help="Change one field, for example [cyan]method.cycles=2[/] or [cyan]students\\[vgg].gpus=0[/]. Repeatable.",
        show_default=False,
    ),
]
Data = Annotated[
    Path,
    typer.Option("--data", envvar="DISTILLJOB_DATA_DIR", metavar="DIR", help="The folder that stands for /data."),
]


def _complete_job(context: typer.Context, incomplete: str) -> list[str]:
    from distilljob.cluster.complete import job_names

    return [name for name in job_names(_place(context)) if name.startswith(incomplete)]


def complete_process(context: typer.Context, incomplete: str) -> list[str]:
    """Complete the name of a student of the job that stands before it, or of its aggregator."""
    from distilljob.cluster.complete import process_names

    names = process_names(context.params.get("job") or "", _place(context))
    return [name for name in names if name.startswith(incomplete)]


def _place(context: typer.Context) -> Place:
    return Place(*(context.params.get(name) for name in ("namespace", "context", "kubeconfig")))


JobName = Annotated[
    str,
    typer.Argument(metavar="JOB", help="A job in the cluster.", show_default=False, autocompletion=_complete_job),
]
JobOrRun = Annotated[
    str,
    typer.Argument(
        metavar="JOB|DIR",
        help="A job in the cluster, or a run directory of this machine: whatever holds a slash, or is a folder with a "
        "run in it.",
        show_default=False,
        autocompletion=_complete_job,
    ),
]
MaybeJobOrRun = Annotated[
    str | None,
    typer.Argument(
        metavar="JOB|DIR",
        help="A job in the cluster, or a run directory of this machine: whatever holds a slash, or is a folder with a "
        "run in it. Left out: all jobs of the namespace.",
        show_default=False,
        autocompletion=_complete_job,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else on standard output.")]

_CLUSTER = "Cluster"
Namespace = Annotated[
    str | None,
    typer.Option(
        "--namespace",
        "-n",
        metavar="NAME",
        help="The job's namespace. [dim]default: the context's own[/]",
        rich_help_panel=_CLUSTER,
        show_default=False,
    ),
]
Context = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="A context of the kubeconfig. [dim]default: the current one[/]",
        rich_help_panel=_CLUSTER,
        show_default=False,
    ),
]
Kubeconfig = Annotated[
    str | None,
    typer.Option(
        metavar="FILE",
        help="Another kubeconfig than $KUBECONFIG or ~/.kube/config.",
        rich_help_panel=_CLUSTER,
        show_default=False,
    ),
]
