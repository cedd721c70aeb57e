"""``gemel witness``: the third failure domain's part beside its store member, a candidate for the lead.

It runs no guest and holds no data: a controller that is neither in the room that was lost nor in the one
that has to take over.
"""

from pathlib import Path

from gemel.control.main import load, serve
from gemel.core import logs, process


def main(config: Path) -> int:
    loaded = load(config)
    logs.configure("witness", identity=loaded.identity)
    return process.run(serve(loaded))
