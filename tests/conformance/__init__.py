"""Running Keras's own tests, from the installed wheel, on this backend.

`python -m tests.conformance ops/numpy_test.py` is the way in; `docs/conformance.md` says what it
does. `plugin` and what it imports import one another relatively and nothing else of ours: the
runner loads `plugin` under a second name (see `runner.ALIAS`), so that the same run can be made
against Keras's bundled backend without importing, and thereby activating, ours.
"""
