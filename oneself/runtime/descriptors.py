"""File descriptors: the limit of a process, and the connections that it allows."""

import resource

#: More connections only hold memory: one without a request is closed after seconds.
MAX_CONNECTIONS = 4096
#: For everything else: listeners, pipes, the log, policies, mail, certificates.
_RESERVE = 128
#: SQLite opens its file, the WAL and the shared memory.
_PER_DATABASE_THREAD = 4


def raise_limit(database_threads: int) -> int:
    """Raise the soft limit of this process, which its workers inherit; return their connections.

    The soft limit is 1,024 on most systems, for programs that use `select`, as this one does not.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    raised = _reachable(hard, database_threads)
    if soft != resource.RLIM_INFINITY and soft < raised:
        resource.setrlimit(resource.RLIMIT_NOFILE, (raised, hard))
    return reachable_connections(database_threads)


def reachable_connections(database_threads: int) -> int:
    """Return the connections that a worker can accept within the hard limit.

    One more would take a descriptor from the database, the log or the policies.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(1, _reachable(hard, database_threads) - _reserved(database_threads))


def _reachable(hard: int, database_threads: int) -> int:
    needed = MAX_CONNECTIONS + _reserved(database_threads)
    return needed if hard == resource.RLIM_INFINITY else min(hard, needed)


def _reserved(database_threads: int) -> int:
    # As many threads again can be set aside, one more reads, and a few run jobs.
    return _RESERVE + 2 * _PER_DATABASE_THREAD * database_threads
