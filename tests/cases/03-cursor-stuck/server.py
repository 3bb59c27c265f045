"""A server whose list has one page, and names the same one as the next page for ever."""

import os, sys

sys.path.insert(0, os.path.join(sys.path[0], "..", "lib"))

from mcpstdio import *

for message in messages():
    if message.get("method") == "tools/list":
        result(message["id"], {"tools": [tool("echo", {"text": {"type": "string"}})], "nextCursor": "page-1"})
    else:
        handle(message, [], lambda ident, name, given: result(ident, text("got " + given["text"])))
