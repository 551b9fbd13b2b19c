"""HTML pages and the published OpenAPI files."""
