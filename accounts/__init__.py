"""The acts on an account: plain functions over a database session.

They know no HTTP and no dialect. The layers, from high to low; each imports only lower ones::

    flows, jobs      the acts of users, clients and operators, by subject; background jobs
    services         what several flows share: database session, credentials, authentication,
                     authorization, events, outgoing mail, rate limits, one-time secrets
    crypto, values   keys, tokens, JWTs and password hashes; rules for addresses, names and the like
    errors, limits, origin
                     the refusals, the configured limits, the origin of a request
"""
