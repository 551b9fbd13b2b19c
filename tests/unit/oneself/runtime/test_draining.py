"""How a worker hears that its service is about to end."""

import multiprocessing

import pytest

from oneself.runtime.draining import is_draining, listen_for_shutdown


def _be_a_worker(heard, asked):
    listen_for_shutdown(heard)
    while asked.recv() != "end":
        asked.send(is_draining())


def test_who_is_told_by_nobody_stays():
    """As a command that makes the application, or a test."""
    assert not is_draining()


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_every_worker_hears_of_the_end_however_it_was_started(method):
    """OP-01: before it and after it, and as often as it is asked."""
    context = multiprocessing.get_context(method)
    heard, told = context.Pipe(duplex=False)

    def says(ask):
        ask.send("are you leaving?")
        assert ask.poll(30)
        return ask.recv()

    def start():
        ask, asked = context.Pipe()
        worker = context.Process(target=_be_a_worker, args=(heard, asked), daemon=True)
        worker.start()
        return worker, ask

    first, ask_first = start()
    assert not says(ask_first)
    told.send_bytes(b"leaving")
    second, ask_second = start()
    assert [says(ask) for ask in (ask_first, ask_second, ask_first, ask_second)] == [True] * 4
    for worker, ask in ((first, ask_first), (second, ask_second)):
        ask.send("end")
        worker.join(30)
        assert worker.exitcode == 0
