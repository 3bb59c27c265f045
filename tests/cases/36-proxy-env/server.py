"""A server that reaches the network only through a proxy."""

import os, sys

sys.path.insert(0, os.path.join(sys.path[0], "..", "lib"))

from mcpstdio import *


def call(ident, name, given):
    seen = {name: os.environ.get(name) for name in ("HTTPS_PROXY", "https_proxy", "NODE_EXTRA_CA_CERTS")}
    result(ident, text(json.dumps(seen), structuredContent=seen))


serve([tool("fetch")], call)
