"""Reading a request: address, credentials, parameters and body."""
