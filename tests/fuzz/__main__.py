import sys

import kerasvino  # noqa: F401 - selects the backend
from tests.fuzz.run import main

sys.exit(main())
