"""Mutual TLS: the aggregator's own certificate, and who is at the other end."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import grpc

from distilljob_core.errors import UnknownStudent
from distilljob_core.names import student_identity

_ALTERNATIVE_NAMES = "x509_subject_alternative_name"


def server_credentials(folder: Path) -> grpc.ServerCredentials:
    """Use tls.crt, tls.key and ca.crt, as they are at each new connection.

    Every client must show a certificate of that authority.
    """

    def configure() -> grpc.ServerCertificateConfiguration:
        key, certificate, authority = ((folder / name).read_bytes() for name in ("tls.key", "tls.crt", "ca.crt"))
        return grpc.ssl_server_certificate_configuration([(key, certificate)], authority)

    return grpc.dynamic_ssl_server_credentials(configure(), configure, require_client_authentication=True)


def check_identity(auth_context: Mapping[str, Iterable[bytes]], job_uid: str, student: str) -> None:
    """Compare the student that a call speaks for with the one URI in the caller's certificate.

    Raises:
        UnknownStudent: the certificate is another's, or names nobody or several.
    """
    names = [name.decode(errors="replace") for name in auth_context.get(_ALTERNATIVE_NAMES, [])]
    identities = [name for name in names if "://" in name]
    if identities != [student_identity(job_uid, student)]:
        raise UnknownStudent(f"the caller's certificate is not that of student {student} of this job")
