"""The HTTP pipeline, from a request to an operation of the document and back."""
