"""The parts of Connexion that the service is built from."""

import warnings

__all__ = [
    "ConnexionMiddleware",
    "LifespanMiddleware",
    "Resolver",
    "RoutedAPI",
    "RoutedMiddleware",
    "RoutingMiddleware",
]

with warnings.catch_warnings():
    # Connexion imports Starlette's test client, which warns about the HTTP client that it uses.
    warnings.simplefilter("ignore")
    from connexion import ConnexionMiddleware
    from connexion.middleware.abstract import RoutedAPI, RoutedMiddleware
    from connexion.middleware.lifespan import LifespanMiddleware
    from connexion.middleware.routing import RoutingMiddleware
    from connexion.resolver import Resolver
    from connexion.spec import OpenAPISpecification


def _accept(_document: object) -> None:
    """Validate nothing: the document is part of the release, and validated before it."""


# Connexion has no option for it, and would spend half of the start of each worker on it.
OpenAPISpecification._validate_spec = staticmethod(_accept)  # noqa: SLF001
