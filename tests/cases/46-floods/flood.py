"""A server that writes megabytes to standard error and thousands of log messages during a call."""

import os, sys

sys.path.insert(0, os.path.join(sys.path[0], "..", "lib"))

from mcpstdio import *


def call(ident, name, given):
    for _ in range(20000):
        sys.stderr.write("WARN retrying \x1b[31m" + "x" * 80 + "\r\n")
    sys.stderr.write("y" * 3000000)
    sys.stderr.flush()
    for number in range(3000):
        params = {"level": "debug", "data": f"line {number}"}
        send({"jsonrpc": "2.0", "method": "notifications/message", "params": params})
    result(ident, text("done"))


serve([tool("work")], call)
