"""The life of the process: thread pools, jobs, keys and policies in use, shutdown."""
