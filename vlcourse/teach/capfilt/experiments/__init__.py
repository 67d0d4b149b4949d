"""The experiments behind the claims of lecture 03."""
