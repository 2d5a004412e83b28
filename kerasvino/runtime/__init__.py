"""The only layer that compiles models or runs inference."""
