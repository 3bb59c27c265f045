"""A server that says something and needs a minute to start."""

import os, sys

sys.path.insert(0, os.path.join(sys.path[0], "..", "lib"))
import time

print("npm warn deprecated thing@1.0: use other", file=sys.stderr, flush=True)
time.sleep(60)

from mcpstdio import *

serve([tool("echo")], lambda ident, name, given: result(ident, text("ok")))
