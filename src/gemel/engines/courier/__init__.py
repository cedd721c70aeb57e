"""Differences from steward to steward: spools, HTTPS with ranges, mutual TLS."""
