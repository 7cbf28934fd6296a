"""Reads the aggregator over its own HTTP: metrics for progress, /v1/status for terminal records."""

from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from distilljob_core.progress import Progress, read_progress, read_samples
from distilljob_core.round_table import RoundTable

TIMEOUT_SECONDS: Final = 3.0
MAXIMUM_BYTES: Final = 8 << 20


class Unreadable(Exception):
    """The aggregator cannot be read now; the text says why."""


@dataclass(frozen=True, slots=True)
class Scrape:
    """What one look at the aggregator brought."""

    progress: Progress
    table: RoundTable


def scrape(address_file: Path, uid: str) -> Scrape:
    """Look at the aggregator once.

    Args:
        address_file: holds host:port; a restarted aggregator writes another one.
        uid: of the job; the port may have gone to somebody else.

    Raises:
        Unreadable: no address yet, no answer within three seconds, or not the answer of an aggregator.
    """
    try:
        host, _, port = address_file.read_text(encoding="ascii").strip().rpartition(":")
        connection = HTTPConnection(host, int(port), timeout=TIMEOUT_SECONDS)
        try:
            metrics = _get(connection, "/metrics").decode()
            table = RoundTable.model_validate_json(_get(connection, "/v1/status"))
        finally:
            connection.close()
    except FileNotFoundError:
        raise Unreadable("the aggregator has no address yet") from None
    except (OSError, HTTPException, ValueError, ValidationError) as error:
        raise Unreadable(f"the aggregator does not answer: {type(error).__name__}: {error}") from error
    if table.uid != uid:
        raise Unreadable(f"at its address answers the aggregator of another job, {table.job}")
    return Scrape(read_progress(read_samples(metrics)), table)


def _get(connection: HTTPConnection, path: str) -> bytes:
    connection.request("GET", path)
    response = connection.getresponse()
    body = response.read(MAXIMUM_BYTES + 1)
    if response.status != 200 or len(body) > MAXIMUM_BYTES:
        raise HTTPException(f"{path}: status {response.status}, {len(body)} bytes")
    return body
