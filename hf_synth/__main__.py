"""`python -m hf_synth` is `hf-synth`."""

import sys

from .commands.main import main

sys.exit(main())
