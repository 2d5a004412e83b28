import signal
import sys

from tests.conformance.runner import main

signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that pytest is ended with us
sys.exit(main())
