"""The service: HTTP, web pages, mail, database access and commands.

Layers, low to high: `settings` and `document`; `database`; `runtime`; `http` and `mail`; `web` and
`observability`; `app`; `server`; `commands`.
"""
