"""The rows of contracts/: what is asked, by whom, and what is answered."""
