"""`python -m diffect` is the command `diffect`."""

import sys

from diffect.cli.main import main

sys.exit(main())
