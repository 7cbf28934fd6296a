"""The first process of a box: makes mounts and links, reaps, and lets connections from outside through.

It runs in mount, network and pid namespaces of its own; when it ends, the kernel removes all that is in them. The
listening socket was made outside, so whoever connects to 127.0.0.1 there is accepted here and led to the same port of
127.0.0.1 here. Nothing else joins the box to the machine's network: an address inside means nothing outside.
"""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

READY = "the box is ready"
CHUNK_BYTES = 1 << 18
NOWHERE = "10.99.0.254"


def main() -> None:
    """Take the folder, the file descriptor of the listening socket and the node's address."""
    folder, descriptor, address = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    make_mounts(folder)
    make_links(address)
    asyncio.run(serve(socket.socket(fileno=descriptor)))


def make_mounts(folder: Path) -> None:
    """Keep programs with paths of their own, such as /var/lib/kubelet/device-plugins, from the machine's files."""
    upper, work = folder / "var", folder / "var-work"
    upper.mkdir()
    work.mkdir()
    run("mount", "--make-rshared", "/")  # the kubelet wants shared propagation
    run("mount", "-t", "overlay", "box", "-o", f"lowerdir=/var,upperdir={upper},workdir={work}", "/var")
    run("mount", "-t", "tmpfs", "box", "/run")
    for name in ("netns", "lock", "containerd"):
        Path("/run", name).mkdir()


def make_links(address: str) -> None:
    """Give the node an address, on a link that leads nowhere."""
    run("ip", "link", "set", "lo", "up")
    run("ip", "link", "add", "node", "type", "veth", "peer", "name", "nowhere")
    run("ip", "link", "set", "nowhere", "up")
    run("ip", "link", "set", "node", "up")
    run("ip", "address", "add", f"{address}/24", "dev", "node")
    # No such host: without any route, addresses of services are refused before they are rewritten.
    run("ip", "route", "add", "default", "via", NOWHERE, "dev", "node")
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
    Path("/proc/sys/net/ipv4/conf/all/rp_filter").write_text("0")


def run(*command: str) -> None:
    """Run a command; the box does not come up where it fails."""
    subprocess.run(command, check=True)


async def serve(listening: socket.socket) -> None:
    """Reap orphans and relay connections, for ever."""
    asyncio.get_running_loop().add_signal_handler(signal.SIGCHLD, reap)
    port = listening.getsockname()[1]

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there, back = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            writer.close()
            return
        await asyncio.gather(pipe(reader, back), pipe(there, writer))

    async with await asyncio.start_server(relay, sock=listening) as server:
        print(READY, flush=True)
        await server.serve_forever()


async def pipe(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    """Copy to the end, then close."""
    with suppress(OSError):
        while chunk := await source.read(CHUNK_BYTES):
            sink.write(chunk)
            await sink.drain()
    sink.close()


def reap() -> None:
    """Take leave of all children that have ended."""
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


if __name__ == "__main__":
    main()
