"""How a process reaches the region store: the same three files and endpoints for every process."""

from pathlib import Path

from gemel.core.resource import Model


class StoreAccess(Model):
    """``endpoints`` as ``host:port``, one a member. The certificate's common name is the role."""

    endpoints: tuple[str, ...]
    ca: Path
    certificate: Path
    key: Path
