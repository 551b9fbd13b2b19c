"""The stages of a request, and the number of Python calls in each of them."""

import gc
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

__all__ = ["STAGES", "CallCounter"]

_ROOT = Path(__file__).parents[2]
_FILES = {
    "guard": ("oneself/http/guard.py", "oneself/http/request/trace_context.py"),
    "routing": ("oneself/http/routing.py", "connexion"),
    "credential": (
        "oneself/http/caller.py",
        "oneself/http/request/credentials.py",
        "accounts/services/authentication.py",
        "accounts/crypto/jwts.py",
        "accounts/crypto/tokens.py",
        "accounts/crypto/keyring.py",
    ),
    "validation": (
        "oneself/http/request/arguments.py",
        "oneself/http/request/bodies.py",
        "oneself/http/request/parameters.py",
    ),
    "policy": (
        "accounts/services/policies/authorization.py",
        "accounts/services/policies/policy_set.py",
        "oneself/runtime/policy_store.py",
    ),
    "database": ("oneself/database", "accounts/services/database.py", "sqlalchemy", "sqlmodel"),
    "handler": ("handlers", "accounts"),
    "render": (
        "oneself/http/response/responses.py",
        "handlers/dialect.py",
        "handlers/problem_details.py",
        "oneself/http/response/dialects.py",
        "oneself/http/response/error_handler.py",
        "oneself/http/response/rendering.py",
    ),
    "operation": (
        "oneself/http/operations.py",
        "oneself/http/execution.py",
        "oneself/http/contexts.py",
        "oneself/runtime/thread_pools.py",
        "oneself/runtime/credential_usage.py",
    ),
}
#: In the order in which a request passes through them.
STAGES = tuple(_FILES)


class CallCounter:
    """Counts Python calls by stage; a library's calls count for the stage that called it.

    It is a profiler that sees only calls of Python functions, so the same request gives the same
    count on any machine, however busy.
    """

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._counting = False
        self._stages: dict[str, str | None] = {}
        self._stacks = threading.local()

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Profile this thread, and all threads started until the end of the block."""
        threading.setprofile(self._profile)
        sys.setprofile(self._profile)
        try:
            yield
        finally:
            sys.setprofile(None)
            threading.setprofile(None)  # type: ignore[arg-type] # None removes it

    @contextmanager
    def counting(self) -> Iterator[Counter[str]]:
        """Count the calls of the block by stage, except those outside of any stage (event loop)."""
        self._counts = Counter()
        gc.collect()
        gc.disable()  # finalizers would add calls at random times
        self._counting = True
        try:
            yield self._counts
        finally:
            self._counting = False
            gc.enable()

    def _profile(self, frame: FrameType, what: str, _argument: Any) -> None:
        stack: list[str | None] = self._stacks.__dict__.setdefault("stack", [])
        if what == "call":
            own_stage = self._stage_of(frame.f_code.co_filename)
            stage = own_stage or (stack[-1] if stack else None)
            stack.append(stage)
            if stage is not None and self._counting:
                self._counts[stage] += 1
        elif what == "return" and stack:
            stack.pop()

    def _stage_of(self, file: str) -> str | None:
        if file not in self._stages:
            self._stages[file] = _find_stage(file)
        return self._stages[file]


def _find_stage(file: str) -> str | None:
    path = Path(file)
    parts = path.relative_to(_ROOT).parts if path.is_relative_to(_ROOT) else path.parts
    if "site-packages" in parts:
        parts = parts[len(parts) - parts[::-1].index("site-packages") :]
    elif not path.is_relative_to(_ROOT):
        return None
    # A file takes precedence over its folder.
    for length in range(len(parts), 0, -1):
        place = "/".join(parts[:length])
        for stage, places in _FILES.items():
            if place in places:
                return stage
    return None
