"""A server that gives an object whose fields are words of programming languages."""

import os, sys

sys.path.insert(0, os.path.join(sys.path[0], "..", "lib"))

from mcpstdio import *

words = "package namespace function import return var for while as break const continue else if let loop void in true null type"
given_back = {word: word for word in words.split()}
serve([tool("info")], lambda ident, name, given: result(ident, text(json.dumps(given_back), structuredContent=given_back)))
