"""python -m toolkit.predict."""

import sys

from toolkit.predict.command import main

sys.exit(main())
