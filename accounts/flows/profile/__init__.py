"""The profile, the settings and the picture of a user."""
