"""Progress of a run: one line that changes on a terminal, a line at times elsewhere."""

import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, TextIO

from oneself_conformance.outcomes import Outcome, Verdict

if TYPE_CHECKING:
    from oneself_conformance.suite import Step

__all__ = ["Progress"]

#: Between two lines in a log, and between two changes of a terminal.
_SECONDS_IN_LOG, _SECONDS_ON_TERMINAL = 10.0, 0.1


class Progress(AbstractContextManager["Progress"]):
    """The number of finished and of failed tests."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._on_terminal = stream.isatty()
        self._next_at = 0.0
        self._shown = ""

    def __exit__(self, *_error: object) -> None:
        if self._on_terminal and self._shown:
            self._stream.write("\n")
            self._stream.flush()

    def show(self, step: "Step", outcomes: Sequence[Outcome]) -> None:
        """Show a finished step, if it is time or the last one of its suite."""
        is_last = step.number == step.count
        if time.monotonic() < self._next_at and not is_last:
            return
        wait = _SECONDS_ON_TERMINAL if self._on_terminal else _SECONDS_IN_LOG
        self._next_at = time.monotonic() + wait
        failed = sum(each.verdict is Verdict.FAILED for each in outcomes)
        text = f"{step.suite} {step.number}/{step.count}"
        if failed:
            text += f", {failed} failed"
        if not self._on_terminal:
            self._stream.write(f"{text}\n")
        else:
            # Over the text before, whose end would stay if it were longer.
            self._stream.write(f"\r{text.ljust(len(self._shown))}")
        self._stream.flush()
        self._shown = text
