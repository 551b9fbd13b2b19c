"""Decides: the acts on an account, plain functions over a database session.

Knows no HTTP and no dialect. In reading order::

    errors, rules                what is refused, and the limits
    database                     the session that each act works in
    people, principal, rights    who is asking, and what they may
    authentication               from a credential to its person
    login_sessions, signup       logging in and out, opening an account
    passwords                    changing one; password_form judges, password_hashing keeps
    profile, preferences         what a person says of themselves, and has set
    email_change, email_verification, one_time_secrets
    access_tokens, api_keys, personal_access_tokens, clients
    tenants, users               what an operator does
    outbox                       mail, put down in the transaction of its act
    keyring, tokens, identifiers, addresses, text, phone, locales, timezones
                                 values: made, judged, sealed
"""
