"""Commands on tenants, users and clients."""
