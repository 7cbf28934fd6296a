"""The driver's modules import one another by name, as a script's do."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
