"""A server that cut a text within an emoji, and writes half a surrogate pair, as `JSON.stringify` does."""

import os, sys

sys.path.insert(0, os.path.join(sys.path[0], "..", "lib"))

from mcpstdio import *


def call(ident, name, given):
    raw(b'{"jsonrpc":"2.0","id":%d,"result":{"content":[{"type":"text","text":"tools \\ud83d"}]}}\n' % ident)


serve([tool("snippet")], call)
