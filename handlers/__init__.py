"""Handlers: a module per dialect, a function per operation, named like its operationId.

A handler takes the operation's context, then the operation's parameters by their names. It makes
one call into `accounts` and returns one view with one status. It has no docstring, because the
operation has a description in the document. A dialect's `DIALECT` says how it refuses.
"""
