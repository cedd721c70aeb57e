"""The region's authority: what it signs, what it refuses, how its secrets stand in files."""

import ssl
import stat
from pathlib import Path

import pytest
from cryptography import x509

from gemel.core.outcome import Permanent
from gemel.engines.pki import (
    Authority,
    Identity,
    Purpose,
    Subject,
    create_authority,
    issue,
    load_authority,
    make_request,
    sign_request,
    write_identity,
)

AGENT = Subject("agent", unit="host-1", dns=("host-1",), ips=("10.0.0.1",), purpose=Purpose.PEER)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return create_authority(tmp_path_factory.mktemp("ca"))


def handshake(folder: Path, authority: Authority, server: Identity, client: Identity, name: str) -> None:
    """A mutual TLS handshake in memory; raises ssl.SSLError if either side refuses."""
    (folder / "ca.crt").write_bytes(authority.pem)
    contexts = []
    for protocol, stem, identity in (
        (ssl.PROTOCOL_TLS_SERVER, "server", server),
        (ssl.PROTOCOL_TLS_CLIENT, "client", client),
    ):
        context = ssl.SSLContext(protocol)
        context.load_verify_locations(folder / "ca.crt")
        context.load_cert_chain(*write_identity(folder, stem, identity))
        context.verify_mode = ssl.CERT_REQUIRED
        contexts.append(context)
    one, two = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        contexts[0].wrap_bio(one, two, server_side=True),
        contexts[1].wrap_bio(two, one, server_hostname=name),
    ]
    for _ in range(6):
        for end in ends:
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                pass


def test_issued_certificates_make_mutual_tls(tmp_path: Path, authority: Authority) -> None:
    server = issue(authority, Subject("etcd", ips=("127.0.0.1",), purpose=Purpose.PEER))
    handshake(tmp_path, authority, server, issue(authority, Subject("api")), "127.0.0.1")


def test_wrong_address_wrong_purpose_and_wrong_authority_are_refused(tmp_path: Path, authority: Authority) -> None:
    server = issue(authority, Subject("etcd", ips=("127.0.0.1",), purpose=Purpose.PEER))
    client = issue(authority, Subject("api"))
    with pytest.raises(ssl.SSLError):
        handshake(tmp_path, authority, server, client, "127.0.0.2")
    with pytest.raises(ssl.SSLError):
        handshake(tmp_path, authority, client, client, "127.0.0.1")
    stranger = create_authority(tmp_path / "other")
    with pytest.raises(ssl.SSLError):
        handshake(tmp_path, authority, server, issue(stranger, Subject("api")), "127.0.0.1")


def test_a_signed_request_carries_what_was_granted_not_what_was_asked(tmp_path: Path, authority: Authority) -> None:
    request = make_request("agent", unit="someone-else", ips=("10.9.9.9",))
    signed = sign_request(authority, request.csr, AGENT)
    certificate = x509.load_pem_x509_certificate(signed)
    alternatives = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [str(ip) for ip in alternatives.get_values_for_type(x509.IPAddress)] == ["10.0.0.1"]
    assert certificate.subject.rfc4514_string() == "CN=agent,OU=host-1"
    server = Identity(signed, request.key)
    handshake(tmp_path, authority, server, issue(authority, Subject("agent")), "10.0.0.1")


def test_a_request_for_another_role_is_refused(authority: Authority) -> None:
    with pytest.raises(Permanent, match="root"):
        sign_request(authority, make_request("root").csr, AGENT)


def test_garbage_is_refused(authority: Authority) -> None:
    with pytest.raises(Permanent, match="not a certificate request"):
        sign_request(authority, b"-----BEGIN NONSENSE-----", AGENT)


def test_keys_are_private_files_and_stay_out_of_repr(tmp_path: Path, authority: Authority) -> None:
    identity = issue(authority, AGENT)
    _, key = write_identity(tmp_path, "agent", identity)
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert "PRIVATE" not in repr(identity) + repr(authority) + repr(make_request("agent"))
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["agent.crt", "agent.key"]


def test_an_authority_is_loaded_but_never_replaced(tmp_path: Path) -> None:
    created = create_authority(tmp_path / "ca")
    assert stat.S_IMODE((tmp_path / "ca" / "ca.key").stat().st_mode) == 0o600
    assert load_authority(tmp_path / "ca").pem == created.pem
    with pytest.raises(Permanent, match="already"):
        create_authority(tmp_path / "ca")


def test_a_broken_authority_says_so(tmp_path: Path) -> None:
    with pytest.raises(Permanent, match="no usable authority"):
        load_authority(tmp_path)
    create_authority(tmp_path / "a")
    create_authority(tmp_path / "b")
    (tmp_path / "a" / "ca.key").replace(tmp_path / "b" / "ca.key")
    with pytest.raises(Permanent, match="do not belong together"):
        load_authority(tmp_path / "b")
