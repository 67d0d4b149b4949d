"""From samples to a batch."""
