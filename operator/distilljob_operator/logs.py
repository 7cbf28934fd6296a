"""Logs: JSON in a cluster, readable on a terminal; one way out for our lines and those of libraries.

`job`, `student` and `attempt` are bound with structlog's context variables by whoever works on them, so that every line
written meanwhile carries them, a library's too.
"""

import logging
import sys
from typing import Any, Final

import structlog
from structlog.typing import EventDict, Processor

from distilljob_operator.settings import LogFormat

_QUIET: Final = {"kopf": logging.WARNING, "aiohttp": logging.WARNING, "asyncio": logging.WARNING}


def configure_logs(log_format: LogFormat) -> None:
    """Set up this process's logs; they go to standard error."""
    is_readable = log_format == "Text" or (log_format == "Auto" and sys.stderr.isatty())
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    last: list[Processor] = (
        [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())]
        if is_readable
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    )
    handler = logging.StreamHandler()
    remove_meta = structlog.stdlib.ProcessorFormatter.remove_processors_meta
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name, _name_object],
            processors=[remove_meta, *last],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.INFO)
    for name, level in _QUIET.items():
        logging.getLogger(name).setLevel(level)
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )


def _name_object(_: Any, __: str, line: EventDict) -> EventDict:
    """Say which job a line of kopf's is about."""
    reference = getattr(line["_record"], "k8s_ref", None)
    if reference:
        line.setdefault("job", f"{reference.get('namespace')}/{reference.get('name')}")
    return line
