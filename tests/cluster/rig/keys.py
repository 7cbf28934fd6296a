"""The keys, certificates, tokens and kubeconfigs of one control plane."""

import datetime
import ipaddress
import json
import secrets
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

NODE_NAME, NODE_ADDRESS = "real-0", "10.99.0.2"
"""The one real node, where there is one."""
SERVICE_ADDRESS = "10.96.0.1"
"""What `kubernetes.default.svc` stands for."""
USERS = {
    "admin": "system:masters",
    "operator": "",
    "system:kube-controller-manager": "",
    "system:kube-scheduler": "",
    "system:kube-proxy": "",
    f"system:node:{NODE_NAME}": "system:nodes",
}
"""User -> group. `operator` may do nothing until a test grants it something."""
SERVER_NAMES = ("localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc")
SERVER_ADDRESSES = ("127.0.0.1", NODE_ADDRESS, SERVICE_ADDRESS)
_LIFETIME = datetime.timedelta(days=3650)


class Keys:
    """A folder of key material: `ca`, `apiserver`, `kubelet-client`, `front-proxy` (.key, .crt), `sa.key`, `sa.pub`."""

    def __init__(self, folder: Path, server: str) -> None:
        self.folder = folder
        self.server = server
        folder.mkdir(mode=0o700)
        self._ca_key = self._private_key("ca")
        self._ca = self._certificate("ca", None)
        for name, group in (("apiserver", ""), ("kubelet-client", "system:masters"), ("front-proxy", "")):
            self._certificate(name, self._private_key(name), group)
        public = self._private_key("sa").public_key()
        self._write(
            "sa.pub",
            public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo),
        )
        self.tokens = {user: secrets.token_hex(16) for user in USERS}
        lines = (f'{token},{user},{user},"{USERS[user]}"\n' for user, token in self.tokens.items())
        self._write("tokens.csv", "".join(lines).encode())

    def path(self, name: str) -> str:
        """Return the path of one of the files, as a program's argument."""
        return str(self.folder / name)

    def kubeconfig(self, user: str) -> Path:
        """Return the kubeconfig of one of the users."""
        return self.kubeconfig_with(user.replace(":", "-"), self.tokens[user])

    def kubeconfig_with(self, name: str, token: str) -> Path:
        """Return a kubeconfig with this token."""
        path = self.folder / f"{name}.kubeconfig"
        cluster = {"server": self.server, "certificate-authority": self.path("ca.crt")}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "rig", "cluster": cluster}],
            "users": [{"name": name, "user": {"token": token}}],
            "contexts": [{"name": "rig", "context": {"cluster": "rig", "user": name}}],
            "current-context": "rig",
        }
        self._write(path.name, json.dumps(config, indent=1).encode())
        return path

    def _private_key(self, name: str) -> ec.EllipticCurvePrivateKey:
        key = ec.generate_private_key(ec.SECP256R1())
        encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
        self._write(f"{name}.key", key.private_bytes(encoding, form, serialization.NoEncryption()))
        return key

    def _certificate(self, name: str, key: ec.EllipticCurvePrivateKey | None, group: str = "") -> x509.Certificate:
        """Make a certificate signed by the CA; without a key, the CA's own."""
        is_ca, subject_key = key is None, (key or self._ca_key).public_key()
        now = datetime.datetime.now(datetime.UTC)
        subject = _name(f"rig-{name}", group)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject if is_ca else self._ca.subject)
            .public_key(subject_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + _LIFETIME)
            .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(subject_key), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._ca_key.public_key()), critical=False
            )
            .add_extension(_usage(is_ca), critical=True)
        )
        if not is_ca:
            purposes = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
            names = [x509.DNSName(known) for known in SERVER_NAMES]
            addresses = [x509.IPAddress(ipaddress.ip_address(known)) for known in SERVER_ADDRESSES]
            builder = builder.add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
            builder = builder.add_extension(x509.SubjectAlternativeName([*names, *addresses]), critical=False)
        certificate = builder.sign(self._ca_key, hashes.SHA256())
        self._write(f"{name}.crt", certificate.public_bytes(serialization.Encoding.PEM))
        return certificate

    def _write(self, name: str, content: bytes) -> None:
        path = self.folder / name
        if path.exists() and path.read_bytes() == content:
            return  # somebody may be reading it
        path.write_bytes(content)
        path.chmod(0o600)


def _name(common_name: str, group: str) -> x509.Name:
    organization = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group)] if group else []
    return x509.Name([*organization, x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _usage(is_ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=is_ca,
        crl_sign=is_ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
