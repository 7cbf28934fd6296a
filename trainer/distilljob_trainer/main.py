"""The command `distilljob-trainer`: one attempt of one student, as pods and the local runner start it."""

import argparse
import os
import sys
from collections.abc import Mapping, MutableMapping, Sequence
from pathlib import Path
from typing import Any, Final

import structlog

from distilljob_core import names
from distilljob_core.errors import DistillJobError, SpecError
from distilljob_core.exchange import Identity
from distilljob_core.exit_codes import ExitCode
from distilljob_core.results import StudentSummary
from distilljob_core.termination import termination_message
from distilljob_trainer.leaving import Left, leave_at_once_on_signals, leave_with_parent
from distilljob_trainer.session import Settings, run_student

TERMINATION_LOG: Final = Path("/dev/termination-log")
"""Kubernetes makes this file, and shows what is written to it in the pod's status."""

log = structlog.get_logger()


def main(argv: Sequence[str] | None = None, environ: Mapping[str, str] = os.environ) -> int:
    """Run one attempt; gives the exit code, see distilljob_core.exit_codes."""
    arguments = build_parser().parse_args(argv)
    leave_at_once_on_signals()
    if arguments.exit_with_parent:
        leave_with_parent()
    _log_as_json(environ)
    try:
        summary = run_student(read_settings(arguments, environ))
    except Left as left:
        log.info("left before the end; everything is saved", code=left.code.name)
        _leave_word(left.code, "left before the end; everything is saved")
        return left.code
    except DistillJobError as error:
        return _give_up(error)
    _leave_word(ExitCode.DONE, "finished", summary)
    log.info("finished", accuracy=summary.accuracy.last)
    return ExitCode.DONE


def build_parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(
        prog="distilljob-trainer",
        description="Trains one student of a DistillJob. The DISTILLJOB_* variables say which, and for whom.",
    )
    parser.add_argument("--data", type=Path, default=Path(names.MOUNT_DATA), help="folder of the dataset")
    parser.add_argument(
        "--checkpoints", type=Path, default=Path(names.MOUNT_CHECKPOINTS), help="folder of this student's state"
    )
    parser.add_argument("--bind", default="127.0.0.1", help="address to serve /metrics on")
    parser.add_argument("--http-port", type=int, default=names.HTTP_PORT, help="port of /metrics; 0 = any")
    parser.add_argument(
        "--device",
        choices=("auto", "cpu", "cuda"),
        default="auto",
        help="auto: a GPU when the student asks for one and there is one; cuda: fail when there is none",
    )
    parser.add_argument("--exit-with-parent", action="store_true", help="leave when standard input ends")
    return parser


def read_settings(arguments: argparse.Namespace, environ: Mapping[str, str]) -> Settings:
    """Put arguments and environment together.

    Raises:
        SpecError: a variable is missing or no number.
    """
    try:
        who = Identity(
            job_uid=environ[names.ENV_UID],
            student=environ[names.ENV_STUDENT],
            attempt=int(environ[names.ENV_ATTEMPT]),
            pod_uid=environ[names.ENV_POD_UID],
        )
        spec_file, aggregator = Path(environ[names.ENV_SPEC_FILE]), environ[names.ENV_AGGREGATOR]
    except KeyError as error:
        raise SpecError(f"the environment variable {error.args[0]} is not set") from error
    except ValueError as error:
        raise SpecError(f"the environment variable {names.ENV_ATTEMPT} must be a number") from error
    tls_dir = environ.get(names.ENV_TLS_DIR)
    return Settings(
        spec_file=spec_file,
        who=who,
        aggregator=aggregator,
        tls_dir=Path(tls_dir) if tls_dir else None,
        data_dir=arguments.data,
        checkpoint_dir=arguments.checkpoints,
        bind=arguments.bind,
        http_port=arguments.http_port,
        device=arguments.device,
    )


def _give_up(error: DistillJobError) -> int:
    text = f"{type(error).__name__}: {error}"
    log.error("failed", error=text, exit_code=int(error.exit_code))
    text = " ".join(text.split())  # whoever shows the last line of stderr shows all of it
    print(text, file=sys.stderr)
    _leave_word(error.exit_code, text)
    return error.exit_code


def _leave_word(code: ExitCode, message: str, summary: StudentSummary | None = None) -> None:
    if TERMINATION_LOG.exists():
        TERMINATION_LOG.write_text(termination_message(code, message, summary))


def _log_as_json(environ: Mapping[str, str]) -> None:
    who = {"student": environ.get(names.ENV_STUDENT, ""), "attempt": environ.get(names.ENV_ATTEMPT, "")}

    def add_who(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        return {**who, **event}

    structlog.configure(
        processors=[
            add_who,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(default=str),
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stdout),
    )
