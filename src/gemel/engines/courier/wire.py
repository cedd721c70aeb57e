"""The few words of HTTP/1.1 that the courier speaks: pure.

GET /v1/differences/<image>/<since>/<until>   Range: bytes=<from>-   If-Range: "<sha256>"
206 or 200 with Content-Length, Content-Range, ETag, Gemel-Encoding, Gemel-Raw
202 with Retry-After while it is being spooled; 404 when no cut of this site contains it
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from gemel.engines.courier.spool import Parcel

PREFIX = "/v1/differences/"
_REQUEST = re.compile(r"^GET (?P<path>/[A-Za-z0-9._/+-]*) HTTP/1\.1$")
_RANGE = re.compile(r"^bytes=(\d+)-$")


@dataclass(frozen=True, slots=True)
class Request:
    path: str
    start: int
    if_range: str


def parse_request(head: str) -> Request | None:
    """None when it is nothing that the courier answers."""
    lines = head.split("\r\n")
    match = _REQUEST.match(lines[0])
    if match is None:
        return None
    headers = {}
    for line in lines[1:]:
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    asked = _RANGE.match(headers.get("range", ""))
    return Request(match["path"], int(asked[1]) if asked else 0, headers.get("if-range", "").strip('"'))


def parse_name(path: str) -> tuple[str, str, str] | None:
    """Image, since (empty for the whole) and until."""
    parts = path.removeprefix(PREFIX).split("/")
    if not path.startswith(PREFIX) or len(parts) != 3 or not all(parts):
        return None
    return parts[0], "" if parts[1] == "nothing" else parts[1], parts[2]


def render_head(status: str, headers: Mapping[str, object]) -> bytes:
    """One answer a connection: a road that broke is noticed by both ends at once."""
    lines = [f"HTTP/1.1 {status}", "Connection: close", *(f"{name}: {value}" for name, value in headers.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def render_parcel_head(parcel: Parcel, start: int) -> bytes:
    headers: dict[str, object] = {
        "Content-Type": "application/octet-stream",
        "Content-Length": parcel.size - start,
        "ETag": f'"{parcel.sha256}"',
        "Gemel-Size": parcel.size,
        "Gemel-Encoding": parcel.encoding,
        "Gemel-Raw": parcel.raw,
        "Accept-Ranges": "bytes",
    }
    if start:
        headers["Content-Range"] = f"bytes {start}-{parcel.size - 1}/{parcel.size}"
    return render_head("206 Partial Content" if start else "200 OK", headers)


def render_refusal(status: str, text: str, retry_after: int | None = None) -> bytes:
    headers: dict[str, object] = {"Content-Type": "text/plain", "Content-Length": len(text.encode())}
    if retry_after is not None:
        headers["Retry-After"] = retry_after
    return render_head(status, headers) + text.encode()


def parse_parcel(headers: Mapping[str, str]) -> Parcel | None:
    try:
        return Parcel(
            int(headers["gemel-size"]), headers["etag"].strip('"'), headers["gemel-encoding"], int(headers["gemel-raw"])
        )
    except (KeyError, ValueError):
        return None
