"""Conformance reports for people and for CI."""
