"""Token exchange, introspection and revocation for clients (RFC 8693, RFC 7662, RFC 7009)."""
