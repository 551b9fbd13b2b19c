"""Mail to users: the outbox, and the messages about addresses."""
