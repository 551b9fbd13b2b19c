"""Probes: raw bytes that no client sends."""
