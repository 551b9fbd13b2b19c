"""Writes a response: dialects, refusals and validation against the document."""
