"""A server that ignores the end of its input and SIGTERM, and has a child of its own."""

import os, sys

sys.path.insert(0, os.path.join(sys.path[0], "..", "lib"))
import signal, subprocess, time

from mcpstdio import *

signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen(["sleep", "300"])
with open("pids", "w", encoding="utf-8") as pids:
    pids.write(f"{os.getpid()} {child.pid}\n")


def call(ident, name, given):
    time.sleep(given["seconds"])
    result(ident, text("ok"))


serve([tool("nap", {"seconds": {"type": "number"}})], call)
time.sleep(300)
