"""Background work on stored records."""
