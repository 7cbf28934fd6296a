"""A student's connection to its aggregator: where it is, how it is secured, and what the channel is set to."""

import threading
from pathlib import Path
from typing import Final

import grpc

from distilljob_core import names
from distilljob_core.errors import Retryable
from distilljob_core.softlabels.frames import MAXIMUM_FRAME_BYTES

_FILE_PREFIX: Final = "file:"
_TLS_FILES: Final = ("ca.crt", "tls.key", "tls.crt")

CHANNEL_OPTIONS: Final = (
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 5_000),
    ("grpc.dns_min_time_between_resolutions_ms", 1_000),
    ("grpc.enable_http_proxy", 0),
    ("grpc.enable_retries", 0),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.max_send_message_length", MAXIMUM_FRAME_BYTES),
    ("grpc.max_receive_message_length", MAXIMUM_FRAME_BYTES),
)


def resolve_address(address: str) -> str:
    """Give host:port of an address that is one, or that names the file which holds it (`file:PATH`).

    Raises:
        Retryable: the file is not there yet; a starting aggregator writes it.
    """
    if not address.startswith(_FILE_PREFIX):
        return address
    path = Path(address.removeprefix(_FILE_PREFIX))
    try:
        return path.read_text().strip()
    except FileNotFoundError as error:
        raise Retryable(f"{path} is not there yet; the aggregator writes it when it starts") from error


class Connection:
    """Hands out a channel; makes a new one when the aggregator has moved or the certificates have changed.

    Old channels stay open until `close`, because other threads may still be calling through them.
    """

    def __init__(self, address: str, tls_dir: Path | None) -> None:
        self._address = address
        self._tls_dir = tls_dir
        self._lock = threading.Lock()
        self._made_from: tuple[str, tuple[bytes, ...]] | None = None
        self._channels: list[grpc.Channel] = []
        self._is_closed = False

    def channel(self) -> grpc.Channel:
        """Give the channel to use for the next call; Retryable when there is none (any more)."""
        with self._lock:
            if self._is_closed:
                raise Retryable("this client is closed")
            target = resolve_address(self._address)
            certificates = self._read_certificates()
            if self._made_from != (target, certificates):
                self._channels.append(_make_channel(target, certificates))
                self._made_from = (target, certificates)
            return self._channels[-1]

    def close(self) -> None:
        """End all channels and the calls on them."""
        with self._lock:
            self._is_closed = True
            for channel in self._channels:
                channel.close()

    def _read_certificates(self) -> tuple[bytes, ...]:
        return tuple((self._tls_dir / name).read_bytes() for name in _TLS_FILES) if self._tls_dir else ()


def _make_channel(target: str, certificates: tuple[bytes, ...]) -> grpc.Channel:
    if not certificates:
        return grpc.insecure_channel(target, CHANNEL_OPTIONS)
    credentials = grpc.ssl_channel_credentials(*certificates)
    verified_name = (("grpc.ssl_target_name_override", names.AGGREGATOR),)
    return grpc.secure_channel(target, credentials, CHANNEL_OPTIONS + verified_name)
