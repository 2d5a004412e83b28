import sys

import kerasvino  # noqa: F401 - selects the backend
from tests.model_fuzz.run import main

sys.exit(main())
