"""The acts of users, clients and operators, one module per subject."""
