"""Draining: workers learn that their service is about to stop."""

import multiprocessing

import pytest

from oneself.runtime.draining import is_draining, listen_for_shutdown


def _run_worker(receiver, requests):
    listen_for_shutdown(receiver)
    while requests.recv() != "end":
        requests.send(is_draining())


def test_process_without_a_pipe_is_not_draining():
    """Such as a command that creates the application, or a test."""
    assert not is_draining()


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_every_worker_learns_of_draining(method):
    """OP-01: whether it started before or after the signal, forked or not, at each request."""
    context = multiprocessing.get_context(method)
    receiver, sender = context.Pipe(duplex=False)

    def is_worker_draining(requests):
        requests.send("are you draining?")
        assert requests.poll(30)
        return requests.recv()

    def start():
        requests, worker_end = context.Pipe()
        worker = context.Process(target=_run_worker, args=(receiver, worker_end), daemon=True)
        worker.start()
        return worker, requests

    first, first_requests = start()
    assert not is_worker_draining(first_requests)
    sender.send_bytes(b"draining")
    second, second_requests = start()
    assert [
        is_worker_draining(requests)
        for requests in (first_requests, second_requests, first_requests, second_requests)
    ] == [True] * 4
    for worker, requests in ((first, first_requests), (second, second_requests)):
        requests.send("end")
        worker.join(30)
        assert worker.exitcode == 0
