"""Adding, listing and removing second factors."""
