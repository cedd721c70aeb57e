"""Who a certificate speaks for, and how keys and certificates stand in files. EC P-256 throughout."""

import os
from dataclasses import dataclass
from datetime import datetime
from enum import Flag, auto
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


class Purpose(Flag):
    """What a certificate may be used for. ``PEER`` both answers and calls, as etcd members and agents do."""

    SERVER = auto()
    CLIENT = auto()
    PEER = SERVER | CLIENT


@dataclass(frozen=True, slots=True)
class Subject:
    """``cn`` is the role in the region store (etcd's user); ``unit`` tells which host, for people and for
    agents that check each other; ``dns`` and ``ips`` are where a server may be reached."""

    cn: str
    unit: str = ""
    dns: tuple[str, ...] = ()
    ips: tuple[str, ...] = ()
    purpose: Purpose = Purpose.CLIENT

    def name(self) -> x509.Name:
        parts = [x509.NameAttribute(NameOID.COMMON_NAME, self.cn)]
        if self.unit:
            parts.insert(0, x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, self.unit))
        return x509.Name(parts)

    def alternatives(self) -> list[x509.GeneralName]:
        addresses = [x509.IPAddress(ip_address(ip)) for ip in self.ips]
        return [*(x509.DNSName(name) for name in self.dns), *addresses]


@dataclass(frozen=True, slots=True)
class Identity:
    """A certificate and its private key, both PEM. The key stays out of every ``repr`` and log."""

    certificate: bytes
    key: bytes

    def __repr__(self) -> str:
        return f"Identity({fingerprint(self.certificate)})"


@dataclass(frozen=True, slots=True)
class Request:
    """A certificate signing request and the private key that stays where it was made, both PEM."""

    csr: bytes
    key: bytes

    def __repr__(self) -> str:
        return "Request(csr, key hidden)"


def make_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def make_request(cn: str, unit: str = "", dns: tuple[str, ...] = (), ips: tuple[str, ...] = ()) -> Request:
    """A new key and a request for it. The authority decides what it really grants."""
    subject, key = Subject(cn, unit, dns, ips), make_key()
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject.name())
    if subject.alternatives():
        builder = builder.add_extension(x509.SubjectAlternativeName(subject.alternatives()), critical=False)
    csr = builder.sign(key, hashes.SHA256())
    return Request(csr.public_bytes(serialization.Encoding.PEM), key_pem(key))


def fingerprint(certificate: bytes) -> str:
    """SHA-256 of the certificate, hexadecimal."""
    return x509.load_pem_x509_certificate(certificate).fingerprint(hashes.SHA256()).hex()


def expires_at(certificate: bytes) -> datetime:
    return x509.load_pem_x509_certificate(certificate).not_valid_after_utc


def write_identity(folder: Path, stem: str, identity: Identity) -> tuple[Path, Path]:
    """``<stem>.crt`` and ``<stem>.key`` (mode 0600) in ``folder``; returns both paths."""
    certificate, key = folder / f"{stem}.crt", folder / f"{stem}.key"
    write_private(key, identity.key)
    write_public(certificate, identity.certificate)
    return certificate, key


def write_private(path: Path, content: bytes) -> None:
    """Replace a file with one that only its owner reads; at no moment is it readable to others or half
    written."""
    _replace(path, content, 0o600)


def write_public(path: Path, content: bytes) -> None:
    _replace(path, content, 0o644)


def _replace(path: Path, content: bytes, mode: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(file.fileno(), mode)  # the umask must not decide
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
