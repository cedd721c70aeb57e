"""The configuration files of a host's libvirt, rendered from a few settings. Pure.

Guests are migrated peer to peer: the source's libvirtd is a client of the target's. Whoever may connect
there is root of the host, so the listener speaks TLS with the host's own certificate, asks for a client
certificate of the region's authority, and lets in only names that match ``allowed_names``. The guests'
memory travels between the QEMUs under the same certificates.
"""

from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path

TLS_PORT = 16514
MIGRATION_PORTS = (49152, 49215)
PKI_DIR = Path("/etc/pki/gemel-libvirt")


@dataclass(frozen=True, slots=True)
class LibvirtSettings:
    """``confined``: QEMU runs as its own user, in cgroups, a mount namespace and under the system's
    security driver. False where the host has none of these to give."""

    host_uuid: str
    address: IPv4Address
    pki: Path = PKI_DIR
    allowed_names: tuple[str, ...] = ()
    """Distinguished names (GnuTLS's order, shell patterns) that may migrate to here; none means any that
    the authority has signed."""
    confined: bool = True
    migration_ports: tuple[int, int] = MIGRATION_PORTS


def render_files(settings: LibvirtSettings) -> dict[str, str]:
    """Contents by file name, relative to /etc/libvirt."""
    return {
        "libvirtd.conf": render_libvirtd(settings),
        "qemu.conf": render_qemu(settings),
        "virtlogd.conf": render_virtlogd(),
    }


def render_libvirtd(settings: LibvirtSettings) -> str:
    """Needs ``libvirtd --listen``; ``host_uuid`` keeps hosts apart that share a board (libvirt refuses to
    migrate to itself). Few workers: a guest in trouble may hold some, never all."""
    pki = settings.pki
    lines = [
        f"host_uuid = {_quoted(settings.host_uuid)}",
        "listen_tls = 1",
        "listen_tcp = 0",
        f"listen_addr = {_quoted(str(settings.address))}",
        f'tls_port = "{TLS_PORT}"',
        f"ca_file = {_quoted(str(pki / 'cacert.pem'))}",
        f"cert_file = {_quoted(str(pki / 'servercert.pem'))}",
        f"key_file = {_quoted(str(pki / 'serverkey.pem'))}",
        'auth_tls = "none"',  # the certificate is the authentication; no SASL on top
        'auth_unix_rw = "none"',  # the socket's mode decides
        'unix_sock_rw_perms = "0700"',
        "keepalive_interval = 2",
        "keepalive_count = 3",
        "max_clients = 64",
        "min_workers = 4",
        "max_workers = 16",
        "prio_workers = 4",
        'log_outputs = "2:stderr"',
    ]
    if settings.allowed_names:
        names = ", ".join(_quoted(name) for name in settings.allowed_names)
        lines.append(f"tls_allowed_dn_list = [{names}]")
    return _joined(lines)


def render_qemu(settings: LibvirtSettings) -> str:
    """``keepalive_*``: a migration to a host that fell silent ends after 6 s instead of 30."""
    lowest, highest = settings.migration_ports
    lines = [
        f"default_tls_x509_cert_dir = {_quoted(str(settings.pki))}",
        f"migrate_tls_x509_cert_dir = {_quoted(str(settings.pki))}",
        "default_tls_x509_verify = 1",
        f"migration_address = {_quoted(str(settings.address))}",
        f"migration_port_min = {lowest}",
        f"migration_port_max = {highest}",
        "keepalive_interval = 2",
        "keepalive_count = 3",
        'stdio_handler = "logd"',
        "auto_dump_bypass_cache = 0",
        "auto_start_bypass_cache = 0",
    ]
    if not settings.confined:
        lines += [
            'user = "+0"',
            'group = "+0"',
            "dynamic_ownership = 0",
            "remember_owner = 0",
            'security_driver = "none"',
            "cgroup_controllers = []",
            "namespaces = []",
        ]
    return _joined(lines)


def render_virtlogd() -> str:
    """A guest's serial console is kept by virtlogd, which bounds it: 4 files of 2 MiB."""
    return _joined(["max_size = 2097152", "max_backups = 3", 'log_outputs = "2:stderr"'])


def render_pki_links(tls: Path = Path("/etc/gemel/tls")) -> dict[str, Path]:
    """Symbolic links to make in ``pki``: libvirt and QEMU look for these names, and the host's one
    certificate is both server and client."""
    certificate, key = tls / "agent.crt", tls / "agent.key"
    return {
        "cacert.pem": tls / "ca.crt",
        "servercert.pem": certificate,
        "serverkey.pem": key,
        "clientcert.pem": certificate,
        "clientkey.pem": key,
        "server-cert.pem": certificate,  # QEMU's spelling of the same
        "server-key.pem": key,
        "client-cert.pem": certificate,
        "client-key.pem": key,
        "ca-cert.pem": tls / "ca.crt",
    }


def migration_uri(address: IPv4Address, pki: Path = PKI_DIR) -> str:
    """Where the source's libvirtd connects to, to bring a guest to ``address``."""
    return f"qemu+tls://{address}/system?pkipath={pki}"


def _quoted(value: str) -> str:
    """libvirt's configuration strings know no escapes: what would end one is refused."""
    if '"' in value or "\n" in value:
        raise ValueError(f"{value!r} cannot stand in a libvirt file: remove its quotes and line breaks")
    return f'"{value}"'


def _joined(lines: list[str]) -> str:
    return "# Written by gemel: changes are overwritten.\n" + "".join(f"{line}\n" for line in lines)
