"""The files of a results volume, read through the pod that has it mounted; a connection that breaks goes on."""

import asyncio
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final

from distilljob.cluster.access import Cluster
from distilljob.cluster.arrival import Arrival
from distilljob.cluster.reader import check_runs
from distilljob.cluster.reader_manifest import CONTAINER, RESULTS
from distilljob.cluster.results import Content, read_content, read_listing
from distilljob.cluster.shell import ProgramFailed, output_of
from distilljob.errors import CommandError
from distilljob_operator.errors import Unavailable

PAUSES_SECONDS: Final = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
"""Before each new try: an API server that is replaced takes its minute."""
_LIST: Final = """\
import json, os, sys
try:
    files = [file for file in os.scandir(sys.argv[1]) if file.is_file() and not file.name.startswith(".")]
    print(json.dumps([(file.name, file.stat().st_size) for file in files]))
except OSError as error:
    sys.exit(error.strerror)
"""
_CONTENT: Final = """\
import hashlib, sys
try:
    with open(sys.argv[1], "rb") as file:
        digest = hashlib.sha256()
        while block := file.read(1 << 20):
            digest.update(block)
        print(file.tell(), digest.hexdigest())
except OSError as error:
    sys.exit(error.strerror)
"""
_READ: Final = """\
import os, shutil, sys
try:
    with open(sys.argv[2], "rb") as file:
        num_bytes = os.fstat(file.fileno()).st_size
        if num_bytes != int(sys.argv[1]):
            sys.exit(f"it has {num_bytes} bytes now, not {sys.argv[1]}; give the command again")
        file.seek(int(sys.argv[3]))
        shutil.copyfileobj(file, sys.stdout.buffer, 1 << 20)
except OSError as error:
    sys.exit(error.strerror)
"""
_END: Final = b"."
_PRINT_END: Final = f"""
print({_END.decode()!r}, end="")
"""


@dataclass(frozen=True, slots=True)
class Volume:
    """The folder of one job.

    Every method raises a CommandError where the pod has ended, a file cannot be read, or the connection breaks again
    and again without bringing anything.
    """

    cluster: Cluster
    pod: str

    async def listing(self) -> dict[str, int]:
        """Give sizes in bytes by name."""
        return read_listing(await self._output("the results", _LIST, RESULTS))

    async def content(self, name: str) -> Content:
        """Look at a file where it lies."""
        return read_content(name, await self._output(name, _CONTENT, f"{RESULTS}/{name}"))

    async def fetch(self, name: str, arrival: Arrival) -> None:
        """Bring what is missing of a file."""
        bears = _Patience(self, name)
        while not arrival.is_whole:
            num_bytes = arrival.num_bytes
            error = await self._read(name, arrival)
            if not arrival.is_whole:  # the end of a stream may be lost, and a good end be told none the less
                await bears.wait(error, has_progress=arrival.num_bytes > num_bytes)

    async def _read(self, name: str, arrival: Arrival) -> Unavailable:
        """Go on where a file stops; give what ended it."""
        size_bytes, offset = str(arrival.content.size_bytes), str(arrival.num_bytes)
        command = ("python3", "-c", _READ, size_bytes, f"{RESULTS}/{name}", offset)
        try:
            async with aclosing(output_of(self.cluster, self.pod, CONTAINER, command)) as chunks:
                async for chunk in chunks:
                    arrival.write(chunk)
        except ProgramFailed as error:
            raise _unreadable(name, error) from None
        except Unavailable as error:
            return error
        return Unavailable.silence("the stream ended before the file did")

    async def _output(self, what: str, program: str, path: str) -> bytes:
        """Give all that a short program prints; what comes without its end is asked for again."""
        bears = _Patience(self, what)
        command = ("python3", "-c", program + _PRINT_END, path)
        while True:
            try:
                async with aclosing(output_of(self.cluster, self.pod, CONTAINER, command)) as chunks:
                    printed = b"".join([chunk async for chunk in chunks])
            except ProgramFailed as error:
                raise _unreadable(what, error) from None
            except Unavailable as error:
                await bears.wait(error, has_progress=False)
                continue
            if printed.endswith(_END):
                return printed.removesuffix(_END)
            await bears.wait(Unavailable.silence("the stream ended before the program did"), has_progress=False)


class _Patience:
    """Bears with a connection that breaks, for as long as something arrives in between."""

    def __init__(self, volume: Volume, what: str) -> None:
        self._volume = volume
        self._what = what
        self._num_failures = 0

    async def wait(self, error: Unavailable, *, has_progress: bool) -> None:
        """Wait before the next try."""
        await check_runs(self._volume.cluster, self._volume.pod)
        self._num_failures = 0 if has_progress else self._num_failures + 1
        if self._num_failures > len(PAUSES_SECONDS):
            advice = "the same command goes on from there"
            raise CommandError(f"{self._what} did not arrive: {error.message}; {advice}")
        await asyncio.sleep(PAUSES_SECONDS[max(0, self._num_failures - 1)])


def _unreadable(what: str, error: ProgramFailed) -> CommandError:
    return CommandError(f"{what} cannot be read in the volume: {error}")
