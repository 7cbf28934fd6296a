"""Tries to join an exchange as a student, and says what became of it. It is run inside pods, as a text."""

import socket
import sys
import threading
from pathlib import Path

import grpc

from distilljob_core.exchange import Identity, SplitShape
from distilljob_core.rpc.client import AggregatorClient
from distilljob_core.softlabels.frames import Split

PATIENCE_SECONDS = 10.0


def main(address: str, tls_dir: str, job_uid: str, student: str, attempt: str) -> None:
    """Join; print `connected` once a plain connection stands, then what became of it."""
    host, _, port = address.rpartition(":")
    socket.create_connection((host, int(port)), PATIENCE_SECONDS).close()
    print("connected")
    if not tls_dir:
        print(plainly(address))
        return
    client = AggregatorClient(address, tls_dir=Path(tls_dir) if tls_dir else None)
    threading.Timer(PATIENCE_SECONDS, client.close).start()  # what never connects is tried for ever
    splits = {split: SplitShape(10, 10, "none") for split in Split}
    try:
        client.join(Identity(job_uid, student, int(attempt), "intruder"), splits)
    except Exception as error:  # every refusal is an answer here
        print(f"{type(error).__name__}: {error}")
    else:
        print("joined")


def plainly(address: str) -> str:
    """Ask for a connection without a certificate."""
    with grpc.insecure_channel(address) as channel:
        try:
            grpc.channel_ready_future(channel).result(timeout=PATIENCE_SECONDS)
        except grpc.FutureTimeoutError:
            return "no exchange"
    return "exchange open"


if __name__ == "__main__":
    main(*sys.argv[1:])
