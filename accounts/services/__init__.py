"""Shared by the flows: authentication, authorization, events, outgoing mail, rate limits."""
