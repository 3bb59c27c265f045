"""A server that adds a tool after another call, and says that its list changes."""

import os, sys

sys.path.insert(0, os.path.join(sys.path[0], "..", "lib"))

from mcpstdio import *

tools = [tool("enable_toolset", {"name": {"type": "string"}})]


def call(ident, name, given):
    if name != "enable_toolset":
        return result(ident, text("ran " + name))
    tools.append(tool(given["name"]))
    result(ident, text("enabled"))
    send({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"})


serve(lambda: tools, call, capabilities={"tools": {"listChanged": True}})
