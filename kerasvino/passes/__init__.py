"""Rewrites of a finished graph: `pipeline` lists them, `patterns` says how to write one."""
