"""The region store on etcd (3.4 and 3.5): client, a member's command line, and the roles in it."""

from gemel.store.etcd.client import EtcdStore, MemberStatus
from gemel.store.etcd.roles import ensure_roles
from gemel.store.etcd.server import MEMBER_CN, Place, Server, render_argv

__all__ = ["MEMBER_CN", "EtcdStore", "MemberStatus", "Place", "Server", "ensure_roles", "render_argv"]
