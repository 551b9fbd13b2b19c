"""Figures of a running service for Prometheus: counted in each worker, asked for in one place.

Each label has a small and fixed set of values: operations of the document, codes of refusals, names
of our own. Nothing that a caller or a user chose is one, and no id (LO-06).
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from accounts.services.database import AccountSession
from accounts.services.outbox import measure_outbox
from oneself.runtime.thread_pools import PoolObserver

if TYPE_CHECKING:
    from prometheus_client import Metric

    from oneself.http.guard import RequestContext

__all__ = ["Metrics", "listening"]

#: Where the library keeps the figures of several processes; it looks when it is first imported.
_FOLDER = "PROMETHEUS_MULTIPROC_DIR"

#: Requests that are for no operation: pages, the document, unknown paths.
_OTHER = "other"

#: Reading takes one millisecond or two, a login a few hundred; the rest is waiting. In seconds.
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Metrics:
    """What one worker counts."""

    def __init__(self) -> None:
        # Only who counts needs the library, and in the main process the folder is set before.
        from prometheus_client import Counter, Gauge, Histogram  # noqa: PLC0415

        self._requests = Counter(
            "oneself_requests",
            "Requests by operation, status and code of the refusal.",
            ["operation", "status", "code"],
            registry=None,
        )
        self._seconds = Histogram(
            "oneself_request_seconds",
            "Seconds from the head of a request to the end of its answer.",
            ["operation"],
            buckets=_BUCKETS,
            registry=None,
        )
        self._threads, self._busy, self._waiting = (
            Gauge(name, told, ["pool"], multiprocess_mode="livesum", registry=None)
            for name, told in (
                ("oneself_pool_threads", "Threads of a pool."),
                ("oneself_pool_busy", "Threads at work."),
                ("oneself_pool_waiting", "Work in the queue."),
            )
        )
        self._refused = Counter(
            "oneself_pool_refused",
            "Work that found the queue full, or waited for too long in it.",
            ["pool"],
            registry=None,
        )
        # Each worker looks at the same outbox, so the latest look counts.
        self._outbox, self._oldest = (
            Gauge(name, told, labels, multiprocess_mode="livemostrecent", registry=None)
            for name, told, labels in (
                ("oneself_outbox_messages", "Mail that waits, or is given up.", ["state"]),
                (
                    "oneself_outbox_oldest_timestamp_seconds",
                    "When the oldest mail that waits was written; 0 if none waits.",
                    [],
                ),
            )
        )

    def count_request(
        self, _method: str, request_context: "RequestContext", seconds: float
    ) -> None:
        """Count a request that was answered, or was left by whoever asked."""
        operation = request_context.operation_id or _OTHER
        status = str(request_context.status) if request_context.status else "none"
        self._requests.labels(operation, status, request_context.code or "").inc()
        self._seconds.labels(operation).observe(seconds)

    def observe_pool(self, name: str, threads: int) -> PoolObserver:
        """What a pool tells how much it has to do."""
        self._threads.labels(name).set(threads)
        busy, waiting = self._busy.labels(name), self._waiting.labels(name)
        refused = self._refused.labels(name)

        def watch(taken: int) -> None:
            busy.set(min(taken, threads))
            waiting.set(max(0, taken - threads))

        return PoolObserver(watch, refused.inc)

    def look_at_outbox(self, session: AccountSession) -> None:
        """Measure the mail that waits."""
        waiting, oldest, given_up = measure_outbox(session)
        self._outbox.labels("waiting").set(waiting)
        self._outbox.labels("given_up").set(given_up)
        self._oldest.set(oldest.timestamp() if oldest else 0)


@contextmanager
def listening(host: str, port: int) -> Iterator[None]:
    """While this lasts, give the figures of all workers that are started to whoever asks.

    In a thread of the main process, which has nothing else to do: a worker could only tell of
    itself.

    Raises:
        OSError: Somebody listens there already.
    """
    with TemporaryDirectory(prefix="oneself-metrics-") as folder:
        os.environ[_FOLDER] = folder
        from prometheus_client import CollectorRegistry, start_http_server  # noqa: PLC0415
        from prometheus_client.registry import Collector  # noqa: PLC0415

        class Workers(Collector):
            def collect(self) -> Iterable["Metric"]:
                return _collect(Path(folder))

        registry = CollectorRegistry(auto_describe=False)
        registry.register(Workers())
        server, thread = start_http_server(port, host, registry)
        # A worker that outlives the main process would keep the port from the next one.
        os.register_at_fork(after_in_child=server.socket.close)
        try:
            yield
        finally:
            server.shutdown()
            server.server_close()
            thread.join()


def _collect(folder: Path) -> Iterable["Metric"]:
    """The figures of all workers; of one that has ended what it counted, and not what it did."""
    from prometheus_client.multiprocess import (  # noqa: PLC0415 # the folder was set before
        MultiProcessCollector,
        mark_process_dead,
    )

    for path in folder.glob("gauge_live*_*.db"):
        pid = int(path.stem.rpartition("_")[2])
        try:
            os.kill(pid, 0)
        except (ProcessLookupError, PermissionError):
            # No worker of ours: there is none of this number, or it is another user's by now.
            mark_process_dead(pid, str(folder))  # type: ignore[no-untyped-call] # in a typed library
    collector = MultiProcessCollector(None, str(folder))  # type: ignore[no-untyped-call] # as above
    found: Iterable[Metric] = collector.collect()  # type: ignore[no-untyped-call] # as above
    return found
