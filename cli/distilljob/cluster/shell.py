"""Running a program in a pod: what it prints, byte for byte, and whether it came to a good end.

The protocol is Kubernetes' `v4.channel.k8s.io`: every message begins with the number of its channel, and the last one
on channel 3 says how the program ended. A connection that breaks before it said nothing.
"""

import json
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import contextmanager
from typing import Final
from urllib.parse import urlencode

import aiohttp

from distilljob.cluster.access import Cluster
from distilljob_operator.connection import unavailable_without_answer
from distilljob_operator.errors import ApiError, Forbidden, Invalid, NotFound, Unavailable

PROTOCOL: Final = "v4.channel.k8s.io"
SILENCE_SECONDS: Final = 30.0
_STDOUT, _STDERR, _STATUS = 1, 2, 3
_KILLED: Final = "137"
"""Exit code of a program that was killed, as when its pod ends."""


class ProgramFailed(Exception):
    """A program in a pod ended with an error; the text is what it said."""


async def output_of(cluster: Cluster, pod: str, container: str, command: Sequence[str]) -> AsyncGenerator[bytes]:
    """Run a program in a pod, and give what it prints as it comes.

    Raises:
        ProgramFailed: it ended with an error, or could not be started.
        Forbidden: the user may not.
        ApiError: no WebSocket gets through.
        Unavailable: the connection broke before its end was known, the program was killed, or the pod is gone.
    """
    query = [("container", container), *(("command", word) for word in command), ("stdout", "true"), ("stderr", "true")]
    target = f"{cluster.core('pods')}/{pod}/exec?{urlencode(query)}"
    complaint = b""
    with unavailable_without_answer(), _refusals_explained():
        async with cluster.connection.websocket(target, PROTOCOL, SILENCE_SECONDS) as socket:
            async for message in socket:
                if message.type is not aiohttp.WSMsgType.BINARY or not message.data:
                    continue
                channel, content = message.data[0], message.data[1:]
                if channel == _STDOUT and content:
                    yield content
                elif channel == _STDERR:
                    complaint += content
                elif channel == _STATUS:
                    _check_end(content, complaint)
                    return
    raise Unavailable.silence("the connection to the pod broke")


@contextmanager
def _refusals_explained() -> Iterator[None]:
    """Put what an answer's status means into words: a refused WebSocket has no text."""
    try:
        yield
    except Forbidden as error:
        needed = "running a program in a pod needs get and create on pods/exec"
        raise Forbidden(error.status, error.reason, needed) from None
    except Invalid as error:
        needed = "whatever stands before the API server must let WebSockets through"
        raise ApiError(error.status, error.reason, f"{error.message}; {needed}") from None
    except NotFound as error:
        raise Unavailable.silence(error.message) from None


def _check_end(content: bytes, complaint: bytes) -> None:
    status = json.loads(content)
    if status.get("status") == "Success":
        return
    said = complaint.decode(errors="replace").strip() or status.get("message", "ended with an error")
    causes = status.get("details", {}).get("causes", ())
    if any((each.get("reason"), each.get("message")) == ("ExitCode", _KILLED) for each in causes):
        raise Unavailable.silence(said)
    raise ProgramFailed("".join(each if each.isprintable() else " " for each in said))
