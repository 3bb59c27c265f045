"""A server that reaches the network only through a proxy."""

import os, sys

sys.path.insert(0, os.path.join(sys.path[0], "..", "lib"))

from mcpstdio import *


def call(ident, name, given):
    seen = dict(os.environ)
    result(ident, text(json.dumps(seen), structuredContent=seen))


serve([tool("fetch")], call)
