"""One authority for one job: it signs the aggregator and every student, and is forgotten."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from distilljob_core import names
from distilljob_operator.manifests.secrets import AUTHORITY_KEY, owner_keys

LIFETIME: Final = timedelta(days=5 * 365)
CLOCK_SKEW: Final = timedelta(hours=1)
"""Nodes whose clocks are behind accept a new certificate too."""

_PEM: Final = serialization.Encoding.PEM


def issue(job_uid: str, students: Iterable[str], now: datetime | None = None) -> dict[str, bytes]:
    """Make all certificates of a job, as PEM by key of its Secret.

    The aggregator is known by a fixed name, whatever the cluster's domain is; a student by the URI of
    `names.student_identity`. The authority's key is in no object, no file and, after this call, no memory.

    Args:
        job_uid: of the DistillJob.
        students: their names, replicas expanded.
        now: from when on they hold; None = now.
    """
    authority = _Authority(job_uid, now or datetime.now(UTC))
    made = {AUTHORITY_KEY: authority.certificate.public_bytes(_PEM)}
    made |= authority.issue(None, names.AGGREGATOR, x509.DNSName(names.AGGREGATOR), ExtendedKeyUsageOID.SERVER_AUTH)
    for student in students:
        identity = x509.UniformResourceIdentifier(names.student_identity(job_uid, student))
        made |= authority.issue(student, student, identity, ExtendedKeyUsageOID.CLIENT_AUTH)
    return made


class _Authority:
    def __init__(self, job_uid: str, now: datetime) -> None:
        self._now = now
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _common_name(f"distilljob {job_uid}")
        usage = _usage(signs_certificates=True)
        builder = self._builder(self._name, self._key.public_key(), is_authority=True).add_extension(usage, True)
        self.certificate = builder.sign(self._key, hashes.SHA256())

    def issue(
        self, student: str | None, title: str, identity: x509.GeneralName, purpose: x509.ObjectIdentifier
    ) -> dict[str, bytes]:
        """Sign one process; gives its certificate and key by key of the Secret."""
        key = ec.generate_private_key(ec.SECP256R1())
        builder = (
            self._builder(_common_name(title), key.public_key(), is_authority=False)
            .add_extension(_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
            .add_extension(x509.SubjectAlternativeName([identity]), critical=False)
        )
        certificate = builder.sign(self._key, hashes.SHA256())
        certificate_key, private_key = owner_keys(student)
        private = key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        return {certificate_key: certificate.public_bytes(_PEM), private_key: private}

    def _builder(
        self, subject: x509.Name, public_key: ec.EllipticCurvePublicKey, *, is_authority: bool
    ) -> x509.CertificateBuilder:
        authority_id = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(self._now - CLOCK_SKEW)
            .not_valid_after(self._now + LIFETIME)
            .add_extension(x509.BasicConstraints(ca=is_authority, path_length=0 if is_authority else None), True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
            .add_extension(authority_id, critical=False)
        )


def _common_name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )
