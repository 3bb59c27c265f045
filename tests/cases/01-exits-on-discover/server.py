"""A server that ends when its first message is not `initialize`."""

import os, sys

sys.path.insert(0, os.path.join(sys.path[0], "..", "lib"))

from mcpstdio import *

first = True
for message in messages():
    if first and message.get("method") != "initialize":
        sys.exit(f"Error: ExpectedInitializeRequest({message.get('method')!r})")
    first = False
    handle(message, [tool("echo", {"text": {"type": "string"}})],
           lambda ident, name, given: result(ident, text("got " + given["text"])))
