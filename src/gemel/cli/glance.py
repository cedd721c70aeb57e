"""``status``: the region at one glance (placeholder until the API's shape is known)."""

import json

from gemel.cli.client import Api


async def show_status(api: Api, watch: bool, output: str) -> int:
    found = await api.get("/v1/status")
    print(json.dumps(found, indent=2))
    return len(found.get("alarms") or [])
