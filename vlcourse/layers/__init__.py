"""The pieces that several papers share."""
