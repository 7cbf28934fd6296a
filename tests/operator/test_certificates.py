"""Certificates of one job: who may show what to whom."""

import ssl
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509 import verification

from distilljob_operator.certificates import issue

UID = "12345678-90ab-cdef-1234-567890abcdef"
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def made() -> dict[str, bytes]:
    return issue(UID, ["a", "b"], NOW)


def certificate(made, owner):
    return x509.load_pem_x509_certificate(made[f"{owner}.crt"])


def verifier(made, when):
    store = verification.Store([certificate(made, "ca")])
    return verification.PolicyBuilder().store(store).time(when)


def test_there_is_one_pair_for_each_process_and_no_key_of_the_authority(made):
    owners = ("aggregator", "student-a", "student-b")
    assert made.keys() == {"ca.crt", *(f"{owner}.{kind}" for owner in owners for kind in ("crt", "key"))}


@pytest.mark.parametrize("owner", ["aggregator", "student-a", "student-b"])
def test_a_key_belongs_to_its_certificate(made, owner):
    key = load_pem_private_key(made[f"{owner}.key"], password=None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    assert isinstance(key.curve, ec.SECP256R1)
    assert key.public_key() == certificate(made, owner).public_key()


@pytest.mark.parametrize("when", [NOW - timedelta(minutes=50), NOW, NOW + timedelta(days=5 * 365 - 1)])
def test_students_and_aggregator_trust_each_other_for_five_years(made, when):
    policy = verifier(made, when)
    policy.build_server_verifier(x509.DNSName("aggregator")).verify(certificate(made, "aggregator"), [])
    policy.build_client_verifier().verify(certificate(made, "student-a"), [])


def test_after_that_they_do_not(made):
    with pytest.raises(verification.VerificationError):
        verifier(made, NOW + timedelta(days=5 * 365 + 1)).build_client_verifier().verify(
            certificate(made, "student-a"), []
        )


def test_a_student_cannot_pose_as_the_aggregator(made):
    server = verifier(made, NOW).build_server_verifier(x509.DNSName("aggregator"))
    with pytest.raises(verification.VerificationError):
        server.verify(certificate(made, "student-a"), [])


def test_nobody_of_another_job_is_trusted(made):
    other = issue(UID, ["a"], NOW)
    with pytest.raises(verification.VerificationError):
        verifier(made, NOW).build_client_verifier().verify(certificate(other, "student-a"), [])


def test_a_student_is_known_by_its_job_and_name(made):
    names = certificate(made, "student-b").extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == [f"distilljob://{UID}/b"]


def test_certificates_hold_from_now_on_unless_said_otherwise():
    made = issue(UID, ["a"])
    context = ssl.create_default_context(cadata=made["ca.crt"].decode())
    assert len(context.get_ca_certs()) == 1
    assert certificate(made, "student-a").not_valid_before_utc < datetime.now(UTC)
