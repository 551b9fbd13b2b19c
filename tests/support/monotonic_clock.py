"""A clock in place of `time.monotonic`, which a test sets."""

__all__ = ["MonotonicClock"]


class MonotonicClock:
    """Seconds that pass only when a test says so."""

    now = 0.0

    def __call__(self) -> float:
        return self.now
