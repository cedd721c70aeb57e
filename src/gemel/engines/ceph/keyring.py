"""Ceph's keyring files: ``[client.NAME]`` sections with ``key = BASE64``. Pure."""

import base64
import binascii
import configparser

from gemel.core.outcome import Permanent


def parse_key(text: str, client: str) -> bytes:
    """The raw key of ``client`` (with or without ``client.``). The error never shows what the file holds."""
    section = f"client.{client.removeprefix('client.')}"
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read_string("\n".join(line.strip() for line in text.splitlines()))
        return base64.b64decode(parser[section]["key"], validate=True)
    except (configparser.Error, KeyError, binascii.Error):
        # Not chained: the parser's own words quote the line, and so the key.
        raise Permanent(f"the keyring has no usable key of {section}") from None
