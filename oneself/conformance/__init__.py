"""Conformance tests of a running deployment, from outside."""
