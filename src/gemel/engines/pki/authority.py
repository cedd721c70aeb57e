"""A region's certificate authority: ``ca.crt`` and ``ca.key`` in a folder of its owner's."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from gemel.core.outcome import Permanent
from gemel.engines.pki.identity import (
    Identity,
    Purpose,
    Subject,
    key_pem,
    make_key,
    write_private,
    write_public,
)

AUTHORITY_LIFE = timedelta(days=20 * 365)
LEAF_LIFE = timedelta(days=2 * 365)
BACKDATED = timedelta(days=1)
"""Hosts' wall clocks may differ; a fresh certificate must not be refused for it."""


@dataclass(frozen=True, slots=True)
class Authority:
    certificate: x509.Certificate
    _key: ec.EllipticCurvePrivateKey

    @property
    def pem(self) -> bytes:
        """What others need to check certificates of this authority."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    def __repr__(self) -> str:
        return f"Authority({self.certificate.subject.rfc4514_string()})"


def create_authority(folder: Path, name: str = "gemel region") -> Authority:
    """A new authority in ``folder``. Raises Permanent when there is one already: replacing it would cut off
    every host that trusts it."""
    if (folder / "ca.key").exists() or (folder / "ca.crt").exists():
        raise Permanent(f"{folder} holds an authority already: load it, or choose another folder")
    key, now = make_key(), datetime.now(UTC)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = _builder(subject, subject, key.public_key(), now, AUTHORITY_LIFE)
    usage = {"key_cert_sign": True, "crl_sign": True}
    builder = (
        builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(usage), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    authority = Authority(builder.sign(key, hashes.SHA256()), key)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_private(folder / "ca.key", key_pem(key))
    write_public(folder / "ca.crt", authority.pem)
    return authority


def load_authority(folder: Path) -> Authority:
    """The authority in ``folder``. Raises Permanent when it is missing or its two files do not belong
    together."""
    try:
        certificate = x509.load_pem_x509_certificate((folder / "ca.crt").read_bytes())
        key = serialization.load_pem_private_key((folder / "ca.key").read_bytes(), password=None)
    except (OSError, ValueError) as error:
        raise Permanent(f"no usable authority in {folder}: {error}; create one, or restore its files") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
        raise Permanent(f"ca.key and ca.crt in {folder} do not belong together: restore both from one backup")
    return Authority(certificate, key)


def issue(authority: Authority, subject: Subject, life: timedelta = LEAF_LIFE) -> Identity:
    """A new key and its certificate."""
    key = make_key()
    return Identity(_sign(authority, subject, key.public_key(), life), key_pem(key))


def sign_request(authority: Authority, csr: bytes, subject: Subject, life: timedelta = LEAF_LIFE) -> bytes:
    """A certificate (PEM) for a request's key. ``subject`` is what the signer grants: of the request only the
    key is taken, and its common name must be the granted one. Raises Permanent for a request that is broken
    or asks to be someone else."""
    try:
        request = x509.load_pem_x509_csr(csr)
        key = request.public_key()
        proven = request.is_signature_valid
    except (ValueError, InvalidSignature) as error:
        raise Permanent(f"not a certificate request: {error}; send the PEM of a new one") from error
    names = [attribute.value for attribute in request.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    if not proven or not isinstance(key, ec.EllipticCurvePublicKey):
        raise Permanent(f"the request for {subject.cn} is not signed by an EC key of its own: make a new one")
    if not isinstance(key.curve, ec.SECP256R1):
        raise Permanent(f"the request for {subject.cn} has a key on {key.curve.name}: use P-256")
    if names != [subject.cn]:
        raise Permanent(f"the request asks for {names!r}, but only {subject.cn!r} is granted: make it for that")
    return _sign(authority, subject, key, life)


def _sign(authority: Authority, subject: Subject, key: ec.EllipticCurvePublicKey, life: timedelta) -> bytes:
    uses = []
    if Purpose.SERVER in subject.purpose:
        uses.append(ExtendedKeyUsageOID.SERVER_AUTH)
    if Purpose.CLIENT in subject.purpose:
        uses.append(ExtendedKeyUsageOID.CLIENT_AUTH)
    issuer = authority.certificate
    builder = _builder(subject.name(), issuer.subject, key, datetime.now(UTC), life)
    builder = (
        builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        # libvirt 9 insists on key encipherment, although an elliptic-curve key never does it.
        .add_extension(_usage({"digital_signature": True, "key_encipherment": True}), critical=True)
        .add_extension(x509.ExtendedKeyUsage(uses), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(_issuer_key(authority), critical=False)
    )
    if subject.alternatives():
        builder = builder.add_extension(x509.SubjectAlternativeName(subject.alternatives()), critical=False)
    return builder.sign(authority._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def _issuer_key(authority: Authority) -> x509.AuthorityKeyIdentifier:
    identifier = authority.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: Any, now: datetime, life: timedelta
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(now + life)
    )


def _usage(granted: dict[str, bool]) -> x509.KeyUsage:
    names = (
        "digital_signature",
        "content_commitment",
        "key_encipherment",
        "data_encipherment",
        "key_agreement",
        "key_cert_sign",
        "crl_sign",
        "encipher_only",
        "decipher_only",
    )
    return x509.KeyUsage(**{name: granted.get(name, False) for name in names})
