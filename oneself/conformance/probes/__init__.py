"""Probes of contracts/probes.yaml: raw bytes that no client sends."""
