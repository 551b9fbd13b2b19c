"""Connexion: the parts of it that the edge is built from, without those that we do not use."""

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

__all__ = [
    "ConnexionMiddleware",
    "LifespanMiddleware",
    "Resolver",
    "RoutedAPI",
    "RoutedMiddleware",
    "RoutingMiddleware",
]

#: What Connexion imports to fetch documents, to ask another server about tokens, and for tests of
#: its users: two HTTP clients with a console, which took 12 MB of each worker and a tenth of its
#: start. No function of it that we call needs any of them.
_NOT_NEEDED = ("httpx", "requests", "starlette.testclient")


class _LeftOut(ModuleType):
    """Stands for a module while somebody imports it, or a name from it, without using either."""

    def __getattr__(self, name: str) -> None:
        """Nothing, for each name that is public."""
        if name.startswith("_"):
            raise AttributeError(name)


@contextmanager
def _left_out(*names: str) -> Iterator[None]:
    """Have some modules not loaded meanwhile, unless they are already."""
    left_out = [name for name in names if name not in sys.modules]
    for name in left_out:
        sys.modules[name] = _LeftOut(name)
    try:
        yield
    finally:
        for name in left_out:
            del sys.modules[name]


with _left_out(*_NOT_NEEDED), warnings.catch_warnings():
    # Where Starlette's test client is there, it warns of the HTTP client that it uses.
    warnings.simplefilter("ignore")
    from connexion import ConnexionMiddleware
    from connexion.middleware.abstract import RoutedAPI, RoutedMiddleware
    from connexion.middleware.lifespan import LifespanMiddleware
    from connexion.middleware.routing import RoutingMiddleware
    from connexion.resolver import Resolver
