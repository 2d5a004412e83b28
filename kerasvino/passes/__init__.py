"""Rewrites of a finished graph: `pipeline` lists them in order and runs them."""
