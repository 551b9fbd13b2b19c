"""Prometheus metrics: counted in each worker, served by the main process.

Each label has a small, fixed set of values: operations of the document, refusal codes, names of
pools. No label is chosen by a client or a user, and none is an id (LO-06).
"""

import ipaddress
import os
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from accounts.services.database import AccountSession
from accounts.services.mail.outbox import measure_outbox
from oneself.host_names import read_host
from oneself.runtime.thread_pools import PoolObserver

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

    from prometheus_client import Metric

    from oneself.http.guard import RequestContext

#: Names the folder in which the library shares metrics between processes; read at its first import.
_FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"

#: Requests that match no operation: pages, the document, unknown paths.
_OTHER = "other"

#: In seconds. A read takes one or two milliseconds, a login a few hundred; the rest is waiting.
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Metrics:
    """The metrics of one worker."""

    def __init__(self) -> None:
        # Imported late: the library is optional, and the main process sets the folder first.
        from prometheus_client import Counter, Gauge, Histogram  # noqa: PLC0415

        self._requests = Counter(
            "oneself_requests",
            "Requests by operation, status and refusal code.",
            ["operation", "status", "code"],
            registry=None,
        )
        self._seconds = Histogram(
            "oneself_request_seconds",
            "Seconds from the request head to the end of the response.",
            ["operation"],
            buckets=_BUCKETS,
            registry=None,
        )
        self._threads, self._busy, self._waiting = (
            Gauge(name, help_text, ["pool"], multiprocess_mode="livesum", registry=None)
            for name, help_text in (
                ("oneself_pool_threads", "Threads in a pool."),
                ("oneself_pool_busy", "Threads that are busy."),
                ("oneself_pool_waiting", "Tasks that wait in the queue."),
            )
        )
        self._refused = Counter(
            "oneself_pool_refused",
            "Tasks refused because the queue was full, or timed out in it.",
            ["pool"],
            registry=None,
        )
        # Every worker measures the same outbox: the most recent value counts.
        self._outbox, self._oldest = (
            Gauge(name, help_text, labels, multiprocess_mode="livemostrecent", registry=None)
            for name, help_text, labels in (
                ("oneself_outbox_messages", "Mail that is waiting, or given up.", ["state"]),
                (
                    "oneself_outbox_oldest_timestamp_seconds",
                    "Creation time of the oldest waiting mail; 0 if none waits.",
                    [],
                ),
            )
        )

    def count_request(
        self, _method: str, request_context: "RequestContext", seconds: float
    ) -> None:
        """Count a request that was answered, or abandoned by its client."""
        operation = request_context.operation_id or _OTHER
        status = str(request_context.status) if request_context.status else "none"
        self._requests.labels(operation, status, request_context.code or "").inc()
        self._seconds.labels(operation).observe(seconds)

    def observe_pool(self, name: str, threads: int) -> PoolObserver:
        """Return the callbacks for the metrics of a pool."""
        self._threads.labels(name).set(threads)
        busy, waiting = self._busy.labels(name), self._waiting.labels(name)
        refused = self._refused.labels(name)

        def observe(pending: int) -> None:
            busy.set(min(pending, threads))
            waiting.set(max(0, pending - threads))

        return PoolObserver(observe, refused.inc)

    def observe_outbox(self, session: AccountSession) -> None:
        """Measure the waiting mail."""
        waiting, oldest, given_up = measure_outbox(session)
        self._outbox.labels("waiting").set(waiting)
        self._outbox.labels("given_up").set(given_up)
        self._oldest.set(oldest.timestamp() if oldest else 0)


@contextmanager
def listening(host: str, port: int, *, hosts: frozenset[str]) -> Iterator[None]:
    """Serve the metrics of all workers that are started within this context.

    In a thread of the main process, which is otherwise idle: a worker could only report itself.
    Requests may name one of `hosts` or an IP address: a page of another site, whose name was
    pointed at this machine, reads nothing.

    Raises:
        OSError: The address is in use.
    """
    with TemporaryDirectory(prefix="oneself-metrics-") as folder:
        os.environ[_FOLDER_VARIABLE] = folder
        from prometheus_client import CollectorRegistry, make_wsgi_app, start_http_server  # noqa: PLC0415
        from prometheus_client.registry import Collector  # noqa: PLC0415

        # Each scrape has a thread of its own and removes files that another might be reading.
        lock = threading.Lock()

        class Workers(Collector):
            def collect(self) -> Iterable["Metric"]:
                with lock:
                    return _collect(Path(folder))

        registry = CollectorRegistry(auto_describe=False)
        registry.register(Workers())
        server, thread = start_http_server(port, host, registry)
        server.set_app(_answering_for(hosts, make_wsgi_app(registry)))
        # A worker that outlives the main process would keep the port from the next start.
        os.register_at_fork(after_in_child=server.socket.close)
        try:
            yield
        finally:
            server.shutdown()
            server.server_close()
            thread.join()


def _answering_for(hosts: frozenset[str], app: "WSGIApplication") -> "WSGIApplication":
    """Wrap a WSGI application so that it answers for these hosts and IP addresses only."""

    def answer(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        host = read_host(environ.get("HTTP_HOST", "").encode("latin-1")) or ""
        if host in hosts or _is_address(host):
            return app(environ, start_response)
        start_response("421 Misdirected Request", [("Content-Type", "text/plain; charset=utf-8")])
        return [b"This service does not answer for that host; ONESELF_EXTRA_HOSTS adds one.\n"]

    return answer


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True


def _collect(folder: Path) -> Iterable["Metric"]:
    """Return the metrics of all workers; gauges of ended ones are dropped, counters kept."""
    from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead  # noqa: PLC0415 # the folder was set before

    for path in folder.glob("gauge_live*_*.db"):
        pid = int(path.stem.rpartition("_")[2])
        try:
            os.kill(pid, 0)
        except (ProcessLookupError, PermissionError):
            # Not a worker of ours: the process is gone, or its number is another user's by now.
            mark_process_dead(pid, str(folder))  # type: ignore[no-untyped-call] # in a typed library
    # The library fails on an empty file, as each file of a starting worker is for a moment.
    files = [str(path) for path in folder.glob("*.db") if path.stat().st_size]
    metrics: Iterable[Metric] = MultiProcessCollector.merge(files)  # type: ignore[no-untyped-call] # as above
    return metrics
