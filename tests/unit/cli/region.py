"""A region's API in memory, as two endpoints that a test can take away: what the command line talks to."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import httpx

from gemel.catalog.registry import KINDS, kind_named
from gemel.cli.app import run
from gemel.cli.session import Session

PAR1, GRA1 = "https://par1.test", "https://gra1.test"
Object = dict[str, Any]


class Trouble(Enum):
    NONE = "answers"
    DOWN = "no connection"
    NO_QUORUM = "answers 503"
    ANSWER_LOST = "carries out, and the answer is lost"


@dataclass
class FakeRegion(httpx.AsyncBaseTransport):
    objects: dict[tuple[str, str], Object] = field(default_factory=dict)
    events: list[Object] = field(default_factory=list)
    status: Object = field(default_factory=dict)
    trouble: dict[str, Trouble] = field(default_factory=dict)
    refusals: dict[tuple[str, str], tuple[int, Object]] = field(default_factory=dict)
    """Method and path to the answer given instead."""
    streams: dict[str, list[list[str]]] = field(default_factory=dict)
    """Path to the SSE blocks of each connection in turn; one that has no more ends the test by Ctrl-C."""
    after_verb: Callable[["FakeRegion", str, str, str, Object], None] | None = None
    asked: list[tuple[str, str, str]] = field(default_factory=list)
    """Endpoint, method and path (with query) of every request that arrived."""
    bodies: list[Object] = field(default_factory=list)
    tokens: set[str] = field(default_factory=set)
    revision: int = 10

    def add(self, kind: str, name: str, **parts: Any) -> Object:
        labels = parts.pop("labels", {})
        self.revision += 1
        found = {
            "apiVersion": "gemel/v1",
            "kind": kind,
            "metadata": {"name": name, "labels": labels, "resourceVersion": self.revision},
            **parts,
        }
        self.objects[kind, name] = found
        return found

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        endpoint = f"{request.url.scheme}://{request.url.host}"
        trouble = self.trouble.get(endpoint, Trouble.NONE)
        if trouble is Trouble.DOWN:
            raise httpx.ConnectTimeout("silence")
        query = f"?{request.url.query.decode()}" if request.url.query else ""
        self.asked.append((endpoint, request.method, request.url.path + query))
        self.tokens.add(request.headers.get("Authorization", ""))
        if trouble is Trouble.NO_QUORUM:
            return httpx.Response(503, json={"error": "StoreUnavailable", "message": "the store has no quorum"})
        body = json.loads(await request.aread() or b"null")
        response = self._answer(request.method, request.url.path, dict(request.url.params), body)
        if trouble is Trouble.ANSWER_LOST:
            raise httpx.ReadTimeout("silence")
        return response

    def _answer(self, method: str, path: str, query: dict[str, str], body: Any) -> httpx.Response:
        if body is not None:
            self.bodies.append(body)
        if (method, path) in self.refusals:
            code, refusal = self.refusals[method, path]
            return httpx.Response(code, json=refusal)
        if path in self.streams:
            return self._stream(path)
        parts = [unquote(part) for part in path.split("/") if part]
        match method, parts:
            case "GET", ["v1", "status"]:
                return httpx.Response(200, json=self.status)
            case "GET", ["v1", "events"]:
                about = query.get("about")
                chosen = [
                    each for each in self.events if about in (None, f"{each['about']['kind']}/{each['about']['name']}")
                ]
                return httpx.Response(200, json={"items": chosen})
            case "POST", ["v1", "apply"]:
                return self._apply(body)
            case "GET", ["v1", plural]:
                return self._list(plural, query.get("labelSelector", ""))
            case "POST", ["v1", plural, name, verb]:
                if self.after_verb:
                    self.after_verb(self, plural, name, verb, body)
                return httpx.Response(202, json={})
            case _, ["v1", plural, name]:
                return self._one(method, plural, name)
        return httpx.Response(404, json={"error": "NotFound", "message": f"no such path {path}"})

    def _kind(self, plural: str) -> str:
        return next(kind.name for kind in KINDS if kind.plural == plural)

    def _list(self, plural: str, selector: str) -> httpx.Response:
        kind = self._kind(plural)
        pairs = [tuple(pair.split("=", 1)) for pair in selector.split(",") if pair]
        items = [
            found
            for (of, _), found in sorted(self.objects.items())
            if of == kind and all(found["metadata"]["labels"].get(key) == value for key, value in pairs)
        ]
        return httpx.Response(200, json={"kind": f"{kind}List", "items": items, "revision": self.revision})

    def _one(self, method: str, plural: str, name: str) -> httpx.Response:
        kind = self._kind(plural)
        if (kind, name) not in self.objects:
            return httpx.Response(404, json={"error": "NotFound", "message": f"there is no {kind} {name}"})
        if method == "DELETE":
            del self.objects[kind, name]
            return httpx.Response(200, json={})
        return httpx.Response(200, json=self.objects[kind, name])

    def _apply(self, body: Object) -> httpx.Response:
        results = []
        for document in body["documents"]:
            wanted = document["object"]
            kind, name = wanted["kind"], wanted["metadata"]["name"]
            assert kind_named(kind) is not None
            live = self.objects.get((kind, name))
            same = live is not None and live.get("spec") == wanted["spec"]
            action = "unchanged" if same else "configured" if live else "created"
            results.append({"kind": kind, "name": name, "action": action})
            if not body["dryRun"] and not same:
                self.add(kind, name, spec=wanted["spec"], labels=wanted["metadata"].get("labels", {}))
        return httpx.Response(200, json={"results": results})

    def _stream(self, path: str) -> httpx.Response:
        if not self.streams[path]:
            raise KeyboardInterrupt
        blocks = self.streams[path].pop(0)
        if blocks == ["410"]:
            return httpx.Response(410, json={"error": "Compacted", "message": "list again"})

        async def body() -> AsyncIterator[bytes]:
            for block in blocks:
                yield block.encode()
                await asyncio.sleep(0)

        return httpx.Response(200, headers={"content-type": "text/event-stream"}, content=body())


def change(kind: str, document: Object, revision: int) -> str:
    """One server-sent event, as the API writes it."""
    return f"data: {json.dumps({'type': kind, 'object': document, 'revision': revision})}\n\n"


@dataclass(frozen=True)
class Terminal:
    """Runs command lines against a region."""

    region: FakeRegion
    config: Path

    def __call__(self, *arguments: str) -> int:
        return run(arguments, Session(config=self.config, transport=self.region))
