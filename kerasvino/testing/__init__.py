"""Running Keras's own tests, from the installed wheel, on this backend.

`python -m kerasvino.testing.conformance ops/numpy_test.py` is the way in; `docs/conformance.md`
says what it does. The modules here import one another relatively and nothing else of the package:
the runner loads `plugin` under a second name (see `conformance.ALIAS`), so that the same run can
be made against Keras's bundled backend without importing, and thereby activating, ours.
"""
