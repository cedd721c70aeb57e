"""Structured logs: one JSON object a line on standard error, which systemd or the lab collects.

Fields that say what a line is about (``host``, ``guest``, ``application``, ``epoch``) are bound once and
then stand in every line written below, also by libraries that log through the standard module:

    log = logs.get(__name__)
    with logs.about(guest="bank-db", epoch=7):
        log.info("started", seconds=1.2)
"""

import logging
import sys
from collections.abc import MutableMapping
from contextlib import AbstractContextManager
from typing import Any, TextIO, cast

import structlog
from structlog.contextvars import bound_contextvars, merge_contextvars
from structlog.tracebacks import ExceptionDictTransformer
from structlog.typing import FilteringBoundLogger, Processor

SECRET_WORDS = ("password", "passwd", "secret", "token", "authorization", "private_key", "keyring")


def hide_secrets(_logger: Any, _method: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Last line of defence: a field whose name says that it is a secret is not written."""
    for field in line:
        if any(word in field.lower() for word in SECRET_WORDS):
            line[field] = "(hidden)"
    return line


def _shared(process: str) -> list[Processor]:
    def name_process(_logger: Any, _method: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        line["process"] = process
        return line

    return [
        merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        name_process,
        hide_secrets,
    ]


def configure(process: str, level: str = "INFO", stream: TextIO | None = None, **bound: Any) -> None:
    """Set up the logs of this process; ``bound`` stands in every line (``host="par1-1"``)."""
    shared = _shared(process)
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            # Without locals: they would write keys and passwords into the log.
            structlog.processors.ExceptionRenderer(ExceptionDictTransformer(show_locals=False)),
            structlog.processors.JSONRenderer(default=str),
        ],
    )
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(**bound)


def get(name: str) -> FilteringBoundLogger:
    return cast(FilteringBoundLogger, structlog.get_logger(name))


def about(**fields: Any) -> AbstractContextManager[None]:
    """Bind fields for everything logged inside, in this task and in the tasks that it starts."""
    return cast(AbstractContextManager[None], bound_contextvars(**fields))
