"""Keys, tokens, password hashes and signed claims."""
