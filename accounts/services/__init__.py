"""What several flows share: who is authenticated, what is allowed, events, mail, limits."""
