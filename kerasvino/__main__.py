"""`python -m kerasvino`: runs a script on Kerasvino, or one of the commands in `kerasvino.cli`."""

import sys

from kerasvino.cli import main

if __name__ == "__main__":
    sys.exit(main())
