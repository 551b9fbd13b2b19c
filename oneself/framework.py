"""Connexion: the parts of it that the edge is built from."""

import warnings

with warnings.catch_warnings():
    # Its application class, which we do not use, imports Starlette's test client, which warns.
    warnings.simplefilter("ignore")
    from connexion import ConnexionMiddleware
    from connexion.middleware.abstract import RoutedAPI, RoutedMiddleware
    from connexion.middleware.lifespan import LifespanMiddleware
    from connexion.middleware.routing import RoutingMiddleware
    from connexion.resolver import Resolver

__all__ = [
    "ConnexionMiddleware",
    "LifespanMiddleware",
    "Resolver",
    "RoutedAPI",
    "RoutedMiddleware",
    "RoutingMiddleware",
]
