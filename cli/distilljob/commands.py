"""The commands and their options. Everything that costs time to import is imported where it is used."""

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Literal

import typer

from distilljob import console
from distilljob.errors import BadInput, CommandError
from distilljob_core.errors import DistillJobError

EXIT_CODES = """Exit codes: 0 done · 1 the job failed · 2 bad input, nothing started · 3 not found · 143 ended by
SIGTERM or Ctrl-C, the same command goes on."""

app = typer.Typer(
    name="distilljob",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=EXIT_CODES,
)

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

RunPath = Annotated[Path, typer.Argument(metavar="DIR", help="A run directory.", show_default=False)]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else on standard output.")]


@app.callback(invoke_without_command=True)
def _root(
    show_version: Annotated[bool, typer.Option("--version", help="Print the version and exit.", is_eager=True)] = False,
) -> None:
    """Students of different networks teach each other: on one machine, or on Kubernetes.

    Begin with: [cyan]distilljob run examples/01-digits.yaml[/]
    """
    if show_version:
        console.out.print(f"distilljob {version('distilljob')}")
        raise typer.Exit


@app.command(
    epilog=f"""Examples:

distilljob run examples/01-digits.yaml

distilljob run job.yaml -o runs/short --set method.cycles=2 --set training.seed=1

{EXIT_CODES}"""
)
def run(
    file: JobPath,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="DIR", help="The run directory. [dim]default: runs/NAME[/]"),
    ] = None,
    settings: Settings = [],  # noqa: B006 - typer copies it
    fresh: Annotated[bool, typer.Option("--fresh", help="Remove the run that is in DIR and begin again.")] = False,
    data: Data = Path("data"),
    device: Annotated[
        Literal["auto", "cpu", "cuda"] | None,
        typer.Option(help="Where students train. [dim]default: auto, a GPU where there is one[/]"),
    ] = None,
    as_json: Json = False,
) -> None:
    """Run a job on this machine. The same command again goes on where it stopped.

    Each student and the aggregator is a process of its own. Ctrl-C saves and stops; twice stops at once.
    """
    from distilljob.local.run import run_local

    raise typer.Exit(run_local(file, output, settings, fresh=fresh, data=data, device=device, as_json=as_json))


@app.command(
    epilog="""Examples:

distilljob validate job.yaml

distilljob validate job.yaml --estimate --set method.cycles=8"""
)
def validate(
    file: JobPath,
    settings: Settings = [],  # noqa: B006 - typer copies it
    with_estimate: Annotated[
        bool, typer.Option("--estimate", help="Also say what the job moves, keeps and computes. Reads the dataset.")
    ] = False,
    data: Data = Path("data"),
    as_json: Json = False,
) -> None:
    """Check a job: everything that is wrong, at once."""
    from distilljob.validate import run_validate

    raise typer.Exit(run_validate(file, settings, with_estimate=with_estimate, data=data, as_json=as_json))


@app.command(
    epilog="""Examples:

distilljob status runs/digits

distilljob status runs/digits --json | jq .phase"""
)
def status(
    directory: RunPath,
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Show it again whenever it changes, until nobody runs the job.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Say how a run stands, whether or not anybody runs it, and what to do next. Reads only."""
    from distilljob.watch.status import run_status

    raise typer.Exit(run_status(directory, watch=watch, as_json=as_json))


@app.command(epilog="Example: distilljob top runs/digits")
def top(directory: RunPath) -> None:
    """Show the round table of a run, live, until it ends; q leaves. Piped, it is shown once."""
    from distilljob.watch.top import run_top

    raise typer.Exit(run_top(directory))


@app.command(
    epilog="""Examples:

distilljob logs runs/digits cnn -f

distilljob logs runs/digits cnn --attempt 1 | jq .loss

distilljob logs runs/digits aggregator"""
)
def logs(
    directory: RunPath,
    name: Annotated[
        str, typer.Argument(metavar="STUDENT", help="A student; or aggregator, or runner.", show_default=False)
    ],
    attempt: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Which attempt. [dim]default: the newest one[/]")
    ] = None,
    follow: Annotated[
        bool,
        typer.Option("--follow", "-f", help="Go on with what comes, over later attempts, until nobody runs the job."),
    ] = False,
) -> None:
    """Print what a process of a run has said: readable on a terminal, and as it is in the file when piped."""
    from distilljob.watch.logs import run_logs

    raise typer.Exit(run_logs(directory, name, attempt, follow=follow))


@app.command(
    epilog="""Examples:

distilljob finish runs/digits

distilljob finish runs/digits --after-cycle 4"""
)
def finish(
    directory: RunPath,
    after_cycle: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="N", help="The last cycle. [dim]default: the open one[/] The last one planned takes it back."
        ),
    ] = None,
) -> None:
    """End a run early, and well: the last cycle is distilled, and everything is published.

    Learning rates stay those of the whole run. Works on a stopped run too; it counts when the run goes on.
    """
    from distilljob.watch.finish import run_finish

    raise typer.Exit(run_finish(directory, after_cycle))


@app.command(
    epilog="""Examples:

distilljob report runs/digits

distilljob report runs/md runs/independent -o comparison.html"""
)
def report(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN...", help="Run directories, finished or not.", show_default=False)
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="The page to write. [dim]default: RUN/report.html for one run, report.html for several[/]",
        ),
    ] = None,
) -> None:
    """Draw what runs measured as one HTML page that needs no network; several runs stand side by side."""
    from distilljob.report.command import run_report

    raise typer.Exit(run_report(runs, output))


@app.command(
    epilog="""Examples:

distilljob render job.yaml

distilljob render job.yaml --set placement.maximumConcurrentStudents=2 | less"""
)
def render(
    file: JobPath,
    settings: Settings = [],  # noqa: B006 - typer copies it
) -> None:
    """Print the Kubernetes objects that the operator would make of a job, first attempts included."""
    from distilljob.render import run_render

    raise typer.Exit(run_render(file, settings))


@app.command(epilog="Example: distilljob schema | kubectl apply --server-side -f -")
def schema() -> None:
    """Print the CustomResourceDefinition."""
    from distilljob.job_file import dump_yaml
    from distilljob_core.crd import crd

    console.print_text(dump_yaml(crd()).rstrip("\n"))


def run_command(arguments: Sequence[str] | None) -> int:
    """Parse, run one command, return its exit code; an error of the user's is printed as one block."""
    try:
        app(args=None if arguments is None else list(arguments), prog_name="distilljob")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1
    except CommandError as error:
        console.print_error(error)
        return error.exit_code
    except DistillJobError as error:
        console.print_error(CommandError(str(error)))
        return CommandError.exit_code
    except OSError as error:
        if error.filename is None:
            raise
        console.print_error(BadInput(f"{error.filename} cannot be used: {error.strerror}"))
        return BadInput.exit_code
    return 0
