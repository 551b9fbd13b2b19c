"""Translates the dialects: a module per tag, a function per operation, named like its operationId.

A handler reads like its operation: parameters by the operation's names, one call into `accounts`,
one view, one status. It has no docstring, since the operation's description is its own.
"""
