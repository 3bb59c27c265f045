"""A server that ends after each call, but not before the next request lies in its input, which it does not read."""

import os, sys

sys.path.insert(0, os.path.join(sys.path[0], "..", "lib"))
import fcntl, struct, termios, time

from mcpstdio import *


def unread_bytes():
    return struct.unpack("i", fcntl.ioctl(0, termios.FIONREAD, bytes(4)))[0]


def call(ident, name, given):
    result(ident, text(f"done by {os.getpid()}"))
    while unread_bytes() == 0:
        time.sleep(0.001)
    os._exit(0)


serve([tool("work")], call)
