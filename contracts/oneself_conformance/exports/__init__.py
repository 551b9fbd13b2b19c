"""Exports of rows to the formats of other tools."""
