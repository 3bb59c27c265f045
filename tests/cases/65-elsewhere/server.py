"""A server that begins its output with a byte order mark."""

import os, sys

sys.path.insert(0, os.path.join(sys.path[0], "..", "lib"))

from mcpstdio import *

raw(b"\xef\xbb\xbf")
serve([tool("echo", {"text": {"type": "string"}})], lambda ident, name, given: result(ident, text("got " + json.dumps(given))))
