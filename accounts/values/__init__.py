"""Parsed and normalised values: addresses, names, locales, phone numbers, pictures."""
