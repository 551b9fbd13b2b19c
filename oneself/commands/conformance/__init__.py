"""Commands for the conformance tests of a test deployment."""
