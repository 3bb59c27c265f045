"""A server with a tool that has optional arguments, which may not be `null`."""

import os, sys

sys.path.insert(0, os.path.join(sys.path[0], "..", "lib"))

from mcpstdio import *

properties = {"q": {"type": "string"}, "limit": {"type": "integer"}, "cursor": {"type": "string"}}
serve([tool("search", properties, ["q"])], lambda ident, name, given: result(ident, text(json.dumps(given), structuredContent=given)))
