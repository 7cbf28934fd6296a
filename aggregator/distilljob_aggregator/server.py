"""The gRPC server: its options, its port, its end."""

from pathlib import Path
from typing import Final

import grpc

from distilljob_aggregator.service import Handlers, Service
from distilljob_aggregator.tls import server_credentials
from distilljob_core.errors import DistillJobError
from distilljob_core.softlabels.frames import MAXIMUM_FRAME_BYTES

SERVER_OPTIONS: Final = (
    ("grpc.so_reuseport", 0),
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.max_send_message_length", MAXIMUM_FRAME_BYTES),
    ("grpc.max_receive_message_length", 2 * MAXIMUM_FRAME_BYTES),
)
"""Frames up to twice the limit are read, so that the service itself refuses and counts them."""


async def start_server(service: Service, bind: str, port: int, tls_dir: Path | None) -> tuple[grpc.aio.Server, int]:
    """Listen; gives the server and its port, which the system chooses when it is 0.

    Raises:
        DistillJobError: the port is taken.
    """
    server = grpc.aio.server(options=SERVER_OPTIONS)
    server.add_generic_rpc_handlers((Handlers(service),))
    address = f"{bind}:{port}"
    try:
        if tls_dir is None:
            bound = server.add_insecure_port(address)
        else:
            bound = server.add_secure_port(address, server_credentials(tls_dir))
    except RuntimeError as error:
        raise DistillJobError(f"cannot listen on {address}; is another process there?") from error
    await server.start()
    return server, bound
