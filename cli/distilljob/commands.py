"""The commands and their options. Everything that costs time to import is imported where it is used."""

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Literal

import typer

from distilljob import console
from distilljob.errors import BadInput, CommandError
from distilljob.job_commands import jobs
from distilljob.options import EXIT_CODES, Data, JobPath, Json, Settings, examples
from distilljob.program import program_name
from distilljob_core.errors import DistillJobError

app = typer.Typer(
    name="distilljob",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=EXIT_CODES,
)

app.add_typer(jobs)


@app.callback(
    invoke_without_command=True,
    help="Students of different networks teach each other: on one machine, or on Kubernetes.\n\n"
    f"Begin with: [cyan]{program_name()} run examples/01-digits.yaml[/]",
)
def _root(
    show_version: Annotated[bool, typer.Option("--version", help="Print the version and exit.", is_eager=True)] = False,
) -> None:
    if show_version:
        console.out.print(f"distilljob {version('distilljob')}")
        raise typer.Exit


@app.command(
    epilog=examples(
        "run examples/01-digits.yaml", "run job.yaml -o runs/short --set method.cycles=2 --set training.seed=1"
    )
    + f"\n\n{EXIT_CODES}"
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


@app.command(epilog=examples("validate job.yaml", "validate job.yaml --estimate --set method.cycles=8"))
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


@app.command(epilog=examples("report runs/digits", "report runs/md runs/independent -o comparison.html"))
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


@app.command(epilog=examples("render job.yaml", "render job.yaml --set placement.maximumConcurrentStudents=2 | less"))
def render(
    file: JobPath,
    settings: Settings = [],  # noqa: B006 - typer copies it
) -> None:
    """Print the Kubernetes objects that the operator would make of a job, first attempts included."""
    from distilljob.render import run_render

    raise typer.Exit(run_render(file, settings))


@app.command(epilog=examples("schema | kubectl apply --server-side -f -"))
def schema() -> None:
    """Print the CustomResourceDefinition."""
    from distilljob.job_file import dump_yaml
    from distilljob_core.crd import crd

    console.print_text(dump_yaml(crd()).rstrip("\n"))


def run_command(arguments: Sequence[str] | None) -> int:
    """Parse, run one command, return its exit code; an error of the user's is printed as one block."""
    try:
        app(args=None if arguments is None else list(arguments), prog_name=program_name())
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
