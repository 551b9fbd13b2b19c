"""Answers HTTP: the application, its compiled operations, credentials, transactions and commands.

In the order in which a request meets them: `server`, `app`, `guard`, `routing`, `operations`,
`credentials`, `transactions`, then a handler, and on the way back `responses` and `refusals`.
"""
