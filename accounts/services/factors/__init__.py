"""Second factors: checking codes, and logins that wait for one."""
