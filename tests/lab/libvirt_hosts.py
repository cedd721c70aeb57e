"""Two hosts for the libvirt lab tests: each a network, mount and UTS namespace with its own libvirtd."""

import datetime
import ipaddress
import os
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from gemel.engines.libvirt.config import LibvirtSettings, render_files, render_pki_links

NETWORK = "10.78.0"
_PRIVATE = {
    "run": "/run",
    "lib": "/var/lib/libvirt",
    "etc": "/etc/libvirt",
    "cache": "/var/cache/libvirt",
    "log": "/var/log/libvirt",
}
_INSIDE = """
set -e
hostname "$1"; shift
base=$1; shift
for pair in $PRIVATE; do mount --bind "$base/${pair%%:*}" "${pair#*:}"; done
mount --bind "$base/hosts" /etc/hosts
exec "$@"
"""


def sh(*argv: str, check: bool = True) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, timeout=20, check=False)
    if check and done.returncode != 0:
        raise AssertionError(f"{' '.join(argv)}: {done.stderr}")
    return done.stdout


@dataclass
class Host:
    name: str
    address: str
    base: Path
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def uri(self) -> str:
        return f"qemu+unix:///system?socket={self.base}/run/libvirt/libvirt-sock"

    @property
    def run_dir(self) -> Path:
        return self.base / "run/libvirt/qemu"

    @property
    def pki(self) -> Path:
        return self.base / "pki"

    @property
    def libvirtd(self) -> subprocess.Popen[bytes]:
        return self.processes[-1]

    def spawn(self, *argv: str) -> None:
        private = " ".join(f"{folder}:{path}" for folder, path in _PRIVATE.items())
        enter = ("ip", "netns", "exec", self.name, "unshare", "--mount", "--uts", "--propagation=private")
        log = (self.base / f"{Path(argv[0]).name}.log").open("ab")
        process = subprocess.Popen(
            [*enter, "sh", "-c", _INSIDE, "inside", self.name, str(self.base), *argv],
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
            env={**os.environ, "PRIVATE": private},
        )
        self.processes.append(process)

    def qemu_pids(self) -> list[int]:
        found = []
        for file in self.run_dir.glob("*.pid"):
            text = file.read_text().strip()
            if text.isdigit() and file.stem != "driver" and Path(f"/proc/{text}/comm").exists():
                found.append(int(text))
        return found


def _certificates(hosts: list[Host]) -> None:
    """An authority, and for each host a certificate of the kind that its agent has."""
    now = datetime.datetime.now(datetime.UTC)
    authority_key = ec.generate_private_key(ec.SECP256R1())
    authority = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "gemel test authority")])

    def builder(subject: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(authority)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(days=1))
        )

    root = (
        builder(authority, authority_key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(authority_key, hashes.SHA256())
    )
    for host in hosts:
        key = ec.generate_private_key(ec.SECP256R1())
        names = [
            x509.DNSName(host.name),
            x509.IPAddress(ipaddress.ip_address(host.address)),
        ]
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host.name)])
        certificate = (
            builder(subject, key.public_key())
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .sign(authority_key, hashes.SHA256())
        )
        tls = host.base / "tls"
        tls.mkdir()
        (tls / "ca.crt").write_bytes(root.public_bytes(serialization.Encoding.PEM))
        (tls / "agent.crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        (tls / "agent.key").touch(mode=0o600)
        (tls / "agent.key").write_bytes(private)
        host.pki.mkdir()
        for name, target in render_pki_links(tls).items():
            (host.pki / name).symlink_to(target)


def _prepare(host: Host, peers: list[Host]) -> None:
    for folder in _PRIVATE:
        (host.base / folder).mkdir(parents=True)
    (host.base / "etc/qemu").mkdir()
    settings = LibvirtSettings(
        host_uuid=str(uuid.uuid4()),
        address=ipaddress.IPv4Address(host.address),
        pki=host.pki,
        confined=False,
    )
    for name, text in render_files(settings).items():
        (host.base / "etc" / name).write_text(text)
    lines = ["127.0.0.1 localhost", *(f"{peer.address} {peer.name}" for peer in peers)]
    (host.base / "hosts").write_text("\n".join(lines) + "\n")


def _connect(hosts: list[Host]) -> None:
    for host in hosts:
        sh("ip", "netns", "add", host.name)
        sh("ip", "-n", host.name, "link", "set", "lo", "up")
    first, second = hosts
    sh("ip", "-n", first.name, "link", "add", "peer", "type", "veth", "peer", "peer", "netns", second.name)
    for host in hosts:
        sh("ip", "-n", host.name, "addr", "add", f"{host.address}/24", "dev", "peer")
        sh("ip", "-n", host.name, "link", "set", "peer", "up")


def _tear_down(hosts: list[Host]) -> None:
    for host in hosts:
        for pid in host.qemu_pids():
            os.kill(pid, signal.SIGKILL)
        for process in reversed(host.processes):
            process.send_signal(signal.SIGCONT)
            process.kill()
            process.wait(10)
        sh("ip", "netns", "del", host.name, check=False)


@contextmanager
def two_hosts() -> Iterator[tuple[Host, Host]]:
    """Needs root. All that is started ends with the context, also when it fails in the middle."""
    base = Path(tempfile.mkdtemp(prefix="gv-"))
    tag = base.name[-6:].lower().replace("_", "x")
    hosts = [Host(f"gv-{tag}-{n}", f"{NETWORK}.{n}", base / f"h{n}") for n in (1, 2)]
    try:
        for host in hosts:
            _prepare(host, hosts)
        _certificates(hosts)
        _connect(hosts)
        for host in hosts:
            host.spawn("virtlogd")
            host.spawn("libvirtd", "--listen")
        deadline = time.monotonic() + 20
        while not all((host.base / "run/libvirt/libvirt-sock").exists() for host in hosts):
            if time.monotonic() > deadline:
                raise AssertionError("libvirtd did not start:\n" + (hosts[0].base / "libvirtd.log").read_text())
            time.sleep(0.05)
        yield hosts[0], hosts[1]
    finally:
        _tear_down(hosts)
        shutil.rmtree(base, ignore_errors=True)
