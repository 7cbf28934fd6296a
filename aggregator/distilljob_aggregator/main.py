"""Entry point: parses, reads the job, serves, returns an exit code."""

import argparse
import asyncio
import os
from collections.abc import Sequence
from pathlib import Path

import structlog

from distilljob_aggregator.logs import configure_logs
from distilljob_aggregator.process import Settings, serve
from distilljob_aggregator.rounds.plan import Plan
from distilljob_core import names
from distilljob_core.errors import DistillJobError, SpecError
from distilljob_core.spec.load import load_job

_log = structlog.get_logger(__name__)


def build_parser() -> argparse.ArgumentParser:
    """Describe the command line; the defaults are a pod's."""
    parser = argparse.ArgumentParser(
        prog="distilljob-aggregator",
        description="Combine students into their teacher. Reads the job from the file in DISTILLJOB_SPEC_FILE.",
    )
    parser.add_argument("--state", type=Path, default=Path(names.MOUNT_STATE), help="journal, uploads and teachers")
    parser.add_argument("--results", type=Path, default=Path(names.MOUNT_RESULTS), help="what students publish")
    control = Path(names.MOUNT_CONFIG) / names.CONTROL_FILE_NAME
    parser.add_argument("--control", type=Path, default=control, help="wishes that may change; may be absent")
    parser.add_argument("--bind", default="0.0.0.0", help="address to listen on")  # noqa: S104 - inside a pod
    parser.add_argument("--grpc-port", type=int, default=names.GRPC_PORT, help="0 = any; see STATE/grpc.address")
    parser.add_argument("--http-port", type=int, default=names.HTTP_PORT, help="0 = any; see STATE/http.address")
    parser.add_argument("--exit-with-parent", action="store_true", help="stop when standard input ends")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the aggregator; gives the process's exit code."""
    args = build_parser().parse_args(argv)
    configure_logs(os.environ.get(names.ENV_NAME, ""))
    tls_dir = os.environ.get(names.ENV_TLS_DIR)
    settings = Settings(
        state=args.state,
        results=args.results,
        control=args.control,
        bind=args.bind,
        grpc_port=args.grpc_port,
        http_port=args.http_port,
        tls_dir=Path(tls_dir) if tls_dir else None,
        exit_with_parent=args.exit_with_parent,
    )
    try:
        return asyncio.run(serve(_read_plan(), settings))
    except DistillJobError as error:
        _log.error("failed", error=str(error))
        return int(error.exit_code)


def _read_plan() -> Plan:
    default = f"{names.MOUNT_CONFIG}/{names.SPEC_FILE_NAME}"
    path = Path(os.environ.get(names.ENV_SPEC_FILE, default))
    try:
        return Plan.from_job(load_job(path.read_text()))
    except OSError as error:
        raise SpecError(f"{path}: {error.strerror}; {names.ENV_SPEC_FILE} must name the job's file") from error
