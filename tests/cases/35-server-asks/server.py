"""A server that sends requests and notifications to the client during a call. The tool `ask` also asks a person."""

import os, sys

sys.path.insert(0, os.path.join(sys.path[0], "..", "lib"))

from mcpstdio import *

FORM = {"message": "sure?", "requestedSchema": {"type": "object", "properties": {}}}
ASKED = [("roots/list", {}), ("ping", None), ("sampling/createMessage", {"messages": [], "maxTokens": 10}), ("custom/thing", {})]

asked, answers, call = [], [], None
for message in messages():
    if message.get("method") == "tools/call":
        call, answers = message, []
        asked = ASKED + [("elicitation/create", FORM)] * (message["params"]["name"] == "ask")
        send({"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", "data": {"x": 1}}})
        send({"jsonrpc": "2.0", "method": "notifications/unheard_of", "params": {"x": 1}})
        for number, (method, params) in enumerate(asked):
            request = {"jsonrpc": "2.0", "id": f"q{number}", "method": method}
            send(request if params is None else {**request, "params": params})
    elif "method" not in message:
        answers.append([message["id"], message.get("error", {}).get("code", "answered")])
        if len(answers) == len(asked):
            result(call["id"], text(json.dumps(sorted(answers))))
    else:
        handle(message, [tool("ask"), tool("report")], None)
