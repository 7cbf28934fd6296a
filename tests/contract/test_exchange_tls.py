"""Mutual TLS: who a caller is, is what its certificate says, on every call."""

import ipaddress
import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from distilljob_core.errors import UnknownStudent
from distilljob_core.exchange import Report, RoundKey
from distilljob_core.names import AGGREGATOR, student_identity
from distilljob_core.phases import StudentPhase
from distilljob_core.rpc import aggregator_pb2 as pb

UID = "11111111-2222-3333-4444-555555555555"
TRAIN = RoundKey(1)


class Authority:
    """Signs certificates for one test."""

    def __init__(self, folder: Path, name: str = "authority") -> None:
        self.folder = folder
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.certificate = self._sign(self.name, self.key, [], is_authority=True)

    def _sign(self, subject, key, names, *, is_authority=False):
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(minutes=1))
            .not_valid_after(now + timedelta(hours=1))
            .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        )
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return builder.sign(self.key, hashes.SHA256())

    def issue(self, who: str, *names: x509.GeneralName) -> Path:
        """Write a folder with tls.crt, tls.key and ca.crt."""
        folder = self.folder / who
        folder.mkdir()
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, who)])
        pem = serialization.Encoding.PEM
        (folder / "tls.crt").write_bytes(self._sign(subject, key, list(names)).public_bytes(pem))
        (folder / "ca.crt").write_bytes(self.certificate.public_bytes(pem))
        private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        (folder / "tls.key").write_bytes(private)
        return folder

    def student(self, name: str, *more: x509.GeneralName, uid: str = UID) -> Path:
        identity = x509.UniformResourceIdentifier(student_identity(uid, name))
        return self.issue(f"{name}-{len(list(self.folder.iterdir()))}", identity, *more)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    folder = tmp_path / "certificates"
    folder.mkdir()
    return Authority(folder)


@pytest.fixture
def aggregator(start_aggregator: Callable, spec: Callable, authority: Authority):
    server = authority.issue("server", x509.DNSName(AGGREGATOR))
    return start_aggregator(spec("a", "b"), DISTILLJOB_TLS_DIR=str(server))


def test_students_with_their_own_certificates_exchange(aggregator, authority, make_student, reference):
    students = {name: make_student(aggregator, name, tls_dir=authority.student(name)) for name in "ab"}
    for student in students.values():
        student.join()
        student.upload(TRAIN)
    record = students["a"].wait(TRAIN)
    assert students["a"].teacher(TRAIN).tobytes() == reference(record, students).tobytes()


def test_other_names_in_a_certificate_do_not_matter(aggregator, authority, make_student):
    more = (x509.DNSName("pod.local"), x509.IPAddress(ipaddress.ip_address("10.0.0.7")))
    assert make_student(aggregator, "a", tls_dir=authority.student("a", *more)).join().token > 0


@pytest.mark.parametrize(
    "certificate",
    [
        pytest.param(lambda authority: authority.student("b"), id="another-student"),
        pytest.param(lambda authority: authority.student("a", uid="other-job"), id="another-job"),
        pytest.param(lambda authority: authority.issue("nobody"), id="no-name"),
        pytest.param(lambda authority: authority.issue("dns", x509.DNSName(f"distilljob.{UID}.a")), id="no-uri"),
        pytest.param(
            lambda authority: authority.student("a", x509.UniformResourceIdentifier(student_identity(UID, "b"))),
            id="two-identities",
        ),
    ],
)
def test_a_certificate_that_is_not_this_students_is_refused(aggregator, authority, make_student, certificate):
    with pytest.raises(UnknownStudent):
        make_student(aggregator, "a", tls_dir=certificate(authority)).join()
    assert aggregator.rejected("UnknownStudent") == 1


def test_a_stolen_token_is_worth_nothing_without_the_certificate(aggregator, authority, make_student):
    owner = make_student(aggregator, "a", tls_dir=authority.student("a"))
    thief = make_student(aggregator, "b", tls_dir=authority.student("b"))
    owner.join()
    thief.join()
    stolen = owner.client._joined
    thief.client._joined = stolen
    calls = [
        lambda: thief.client.heartbeat(Report(StudentPhase.WAITING)),
        lambda: thief.client.open(thief.offer(TRAIN)),
        lambda: thief.client.wait(TRAIN),
        lambda: list(thief.client.teacher(TRAIN)),
        lambda: thief.client.publish(Path(__file__), "a.bin"),
        lambda: thief.client.finish(thief.summary()),
    ]
    for call in calls:
        with pytest.raises(UnknownStudent):
            call()
    assert aggregator.rejected("UnknownStudent") == len(calls)


def test_without_a_certificate_of_the_jobs_authority_there_is_no_connection(aggregator, tmp_path, make_student):
    folder = tmp_path / "forged"
    folder.mkdir()
    forged = Authority(folder)
    genuine = tmp_path / "certificates"
    mine = forged.student("a")
    (mine / "ca.crt").write_bytes(next(genuine.glob("*/ca.crt")).read_bytes())
    student = make_student(aggregator, "a", tls_dir=mine)
    with pytest.raises(grpc.RpcError) as caught:
        student.client._unary("Join", pb.JoinRequest())
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert aggregator.table().students[0].attempt == 0


def test_renewed_certificates_are_used_without_a_restart(aggregator, authority, make_student):
    renewed = authority.issue("renewed", x509.DNSName(AGGREGATOR))
    server = authority.folder / "server"
    for name in ("tls.crt", "tls.key"):
        (server / name).write_bytes((renewed / name).read_bytes())
    mine = authority.student("a")
    student = make_student(aggregator, "a", tls_dir=mine)
    token = student.join().token
    again = authority.student("a")
    for name in ("tls.crt", "tls.key"):
        (mine / name).write_bytes((again / name).read_bytes())
    assert student.join().token == token
    host, port = (aggregator.state / "grpc.address").read_text().strip().split(":")
    shown = x509.load_pem_x509_certificate(ssl_certificate(host, int(port)))
    expected = x509.load_pem_x509_certificate((renewed / "tls.crt").read_bytes())
    assert shown.serial_number == expected.serial_number


def ssl_certificate(host: str, port: int) -> bytes:
    return ssl.get_server_certificate((host, port)).encode()
