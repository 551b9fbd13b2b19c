"""`python -m oneself`."""

from oneself.commands import main

main()
