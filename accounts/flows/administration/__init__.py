"""Tenants, users and clients, as operators manage them."""
