"""Running Keras's own tests, from the installed wheel or a checkout of Keras, on this backend.

`python -m tests.conformance ops/numpy_test.py` is the way in; `docs/conformance.md` says what it
does. `options` is the command line, `runner` runs pytest, with `plugin` in it, `neutralise` undoes
skips by the backend's name, `exclusions` is the list of tests that are left out, `results` counts,
and `tables` writes. `plugin` and what it imports import one another relatively and nothing else of
ours: the runner loads `plugin` under a second name (see `runner.ALIAS`), so that the same run can
be made against Keras's own backends without importing, and thereby activating, ours.
"""
