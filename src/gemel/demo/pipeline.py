"""The steps one after the other, each within its deadline. What fails is told, and what needed it is left
out; the rest goes on, so that one defect does not hide the others."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from gemel.cli.exits import CommandFailed
from gemel.core.outcome import GemelError
from gemel.demo.report import Outcome
from gemel.demo.results import Results


@dataclass(frozen=True, slots=True)
class Step:
    """``field`` of the results is what ``act`` returns; ``needs`` are fields that must be there before it.
    ``within`` seconds it must end."""

    field: str
    title: str
    within: float
    act: Callable[[Results], Awaitable[Any]]
    needs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Ran:
    results: Results
    outcomes: tuple[Outcome, ...]


async def run_steps(
    steps: Sequence[Step], begin: Callable[[int, Step], None], failed: Callable[[Outcome], None]
) -> Ran:
    """``begin`` and ``failed`` are told as it goes."""
    results = Results()
    outcomes: list[Outcome] = []
    for number, step in enumerate(steps, start=1):
        begin(number, step)
        began = time.monotonic()
        failure = _lacking(step, results)
        if not failure:
            value, failure = await _attempt(step, results)
            if not failure:
                results = replace(results, **{step.field: value})
        outcome = Outcome(step.field, time.monotonic() - began, failure)
        outcomes.append(outcome)
        if failure:
            failed(outcome)
    return Ran(results, tuple(outcomes))


def _lacking(step: Step, results: Results) -> str:
    missing = [need.replace("_", " ") for need in step.needs if getattr(results, need) is None]
    return f"left out: it needs {' and '.join(missing)}, which did not succeed" if missing else ""


async def _attempt(step: Step, results: Results) -> tuple[Any, str]:
    """(what it found, why it failed). A defect of a step is one more way to fail: the report must be written."""
    deadline = asyncio.timeout(step.within)
    try:
        async with deadline:
            return await step.act(results), ""
    except TimeoutError as error:
        return None, f"not done within {step.within:.0f} s" if deadline.expired() else _words(error)
    except Exception as error:
        return None, _words(error)


def _words(error: Exception) -> str:
    on_purpose = isinstance(error, GemelError | CommandFailed)
    return str(error) if on_purpose else f"{type(error).__name__}: {error}"
