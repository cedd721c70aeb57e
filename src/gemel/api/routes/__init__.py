"""The REST table of docs/architecture.md, a module for each part of it."""
