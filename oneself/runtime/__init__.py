"""Process lifetime: thread pools, jobs, keys and policies in use, shutdown."""
