"""Commands on the database and its backups."""
