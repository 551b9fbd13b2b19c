"""The probes of contracts/probes.yaml: bytes that no client sends."""
