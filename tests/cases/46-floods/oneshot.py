"""A server that ends after each call."""

import os, sys

sys.path.insert(0, os.path.join(sys.path[0], "..", "lib"))

from mcpstdio import *


def call(ident, name, given):
    result(ident, text("done"))
    os._exit(0)


serve([tool("work")], call)
