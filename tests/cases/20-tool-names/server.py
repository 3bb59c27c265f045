"""A server whose tools have the names that are seen in the wild."""

import os, sys

sys.path.insert(0, os.path.join(sys.path[0], "..", "lib"))

from mcpstdio import *

names = ["github/git_commit", "calendar.respondToEvent", "Create CIFS Share", "查询/天气", "a:b", "with-dash", "x" * 130, "emoji🚀"]
serve([tool(name) for name in names], lambda ident, name, given: result(ident, text("called " + name)))
