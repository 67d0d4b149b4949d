"""The experiments behind the claims of the lecture."""
