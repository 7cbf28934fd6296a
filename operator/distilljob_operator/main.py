"""Entry point: `distilljob-operator run` and `distilljob-operator version`."""

import argparse
import asyncio
import gc
import os
import sys
from collections.abc import Sequence
from importlib.metadata import version
from typing import Final

import structlog

from distilljob_core.errors import DistillJobError
from distilljob_operator.logs import configure_logs
from distilljob_operator.settings import SettingsError, add_flags, read_settings

RARELY: Final = (50_000, 20, 20)
"""Collect garbage seldom: what is parsed of a list has no cycles, and looking for them takes most of the parsing."""

_log = structlog.get_logger(__name__)


def build_parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(
        prog="distilljob-operator", description="Turn DistillJobs into students and aggregators, and keep them alive."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    add_flags(
        commands.add_parser(
            "run",
            help="serve a cluster until told to stop",
            description="Serve a cluster until SIGTERM or SIGINT. In brackets: the default, and the variable of the "
            "environment that says the same; a flag wins over its variable.",
        )
    )
    commands.add_parser("version", help="print the version")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; gives the process's exit code: 0 stopped as asked, 1 failed, 2 wrong settings."""
    flags = build_parser().parse_args(argv)
    if flags.command == "version":
        print(version("distilljob"))
        return 0
    try:
        settings = read_settings(flags, os.environ)
    except SettingsError as error:
        print(f"distilljob-operator: {error}", file=sys.stderr)
        return 2
    configure_logs(settings.log_format)
    gc.set_threshold(*RARELY)
    # kopf and the client take a second to import: --help and mistakes should not.
    from distilljob_operator.app import serve
    from distilljob_operator.reconcile import Reconciler

    try:
        return asyncio.run(serve(settings, Reconciler))
    except DistillJobError as error:
        _log.error("failed", error=str(error))
        return 1


if __name__ == "__main__":
    sys.exit(main())
