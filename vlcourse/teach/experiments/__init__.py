"""The full experiments behind the claims ledger, one module a lecture."""
