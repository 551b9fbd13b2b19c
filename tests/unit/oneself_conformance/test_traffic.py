"""Recorded traffic is read back byte by byte."""

from pathlib import Path

from oneself_conformance.http_client import Answer, Request
from oneself_conformance.traffic import Traffic, read_traffic

REQUEST = Request("PUT", "/a?b=c", (("X-A", "1"), ("X-A", "2")), b"\x00\xff")
ANSWER = Answer(200, (("Content-Type", "image/webp"),), b"\xfe\x00")


def test_recorded_exchanges_are_read_back(tmp_path: Path):
    traffic = Traffic(tmp_path / "exchanges.jsonl")
    traffic.write(REQUEST, ANSWER)
    traffic.write(REQUEST, ANSWER)
    assert [*read_traffic(tmp_path / "exchanges.jsonl")] == [(REQUEST, ANSWER)] * 2


def test_traffic_without_path_writes_nothing(tmp_path: Path):
    Traffic(None).write(REQUEST, ANSWER)
    assert [*tmp_path.iterdir()] == []
