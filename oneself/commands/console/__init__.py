"""Output, failures and set-up that commands share."""
