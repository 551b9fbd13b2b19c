"""The languages of the shipped templates."""

#: The first is the fallback for readers of any other language.
LANGUAGES = ("en", "de")
