"""A server with one tool, which repeats its arguments."""

import os, sys

sys.path.insert(0, os.path.join(sys.path[0], "..", "lib"))

from mcpstdio import *

serve([tool("echo")], lambda ident, name, given: result(ident, text(json.dumps(given, ensure_ascii=False), structuredContent=given)))
