"""Proves a running deployment against the document, from outside."""
