"""The acts of users, clients and operators, one package or module per subject."""
