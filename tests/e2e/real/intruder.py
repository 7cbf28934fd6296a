"""Tries to get into an exchange, and says what became of it. It is run inside pods, as a text."""

import json
import socket
import sys
import threading
from pathlib import Path

import grpc

from distilljob_core import names
from distilljob_core.exchange import Identity, SplitShape
from distilljob_core.rpc.client import AggregatorClient
from distilljob_core.softlabels.frames import Split

PATIENCE_SECONDS = 10.0


def knock(address: str, certificates: str) -> None:
    """Ask for a connection, with the PEMs of authority, key and certificate that are given; with none in the clear."""
    host, _, port = address.rpartition(":")
    socket.create_connection((host, int(port)), PATIENCE_SECONDS).close()
    given = [pem.encode() for pem in json.loads(certificates)]
    known_as = (("grpc.ssl_target_name_override", names.AGGREGATOR),)
    channel = (
        grpc.secure_channel(address, grpc.ssl_channel_credentials(*given), known_as)
        if given
        else grpc.insecure_channel(address)
    )
    with channel:
        try:
            grpc.channel_ready_future(channel).result(timeout=PATIENCE_SECONDS)
        except grpc.FutureTimeoutError:
            print("connected, and no exchange")
        else:
            print("in the exchange")


def join(address: str, tls_dir: str, job_uid: str, student: str, attempt: str) -> None:
    """Join as a student."""
    client = AggregatorClient(address, tls_dir=Path(tls_dir))
    threading.Timer(PATIENCE_SECONDS, client.close).start()  # what never connects is tried for ever
    splits = {split: SplitShape(10, 10, "none") for split in Split}
    try:
        client.join(Identity(job_uid, student, int(attempt), "intruder"), splits)
    except Exception as error:  # every refusal is an answer here
        print(f"{type(error).__name__}: {error}")
    else:
        print("joined")


if __name__ == "__main__":
    {"knock": knock, "join": join}[sys.argv[1]](*sys.argv[2:])
