#!/usr/bin/env python3
"""The client that the MCP conformance suite runs: every tool of the server at the address in the last argument, by Longshore.

The suite starts a server for each scenario and runs this program with its address. Tools and arguments come from the
scenario (MCP_CONFORMANCE_CONTEXT) where it names some; otherwise each tool is called once, with arguments made from its schema.
LONGSHORE is the program to run. The calls are steps of one workflow, side by side, so they share a connection.
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile

LONGSHORE = os.environ["LONGSHORE"]
VALUES = {"string": "text", "integer": 2, "number": 2.5, "boolean": True, "array": [], "object": {}}
# A tool of the scenario json-schema-2020-12-preservation, which wants the schema of the other tool as its argument.
SCHEMA_ECHO = "json_schema_echo"


def arguments(tool, tools):
    """Makes arguments for the tool: a value of the right type for everything that its schema requires."""
    if tool["name"] == SCHEMA_ECHO:
        return {"schema": next(other for other in tools if other["name"] != SCHEMA_ECHO)["input_schema"]}
    schema = tool["input_schema"] or {}
    properties = schema.get("properties", {})
    return {name: VALUES.get(properties.get(name, {}).get("type"), "text") for name in schema.get("required", [])}


def longshore(folder, *args):
    """Runs Longshore in the folder, which has a servers file, and returns what it printed. Errors go to stderr."""
    command = [LONGSHORE, *args, "--mcp-config", "mcp.json"]
    return subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, text=True, check=False)


def main():
    context = json.loads(os.environ.get("MCP_CONFORMANCE_CONTEXT", "{}"))
    entry = {"url": sys.argv[-1], "longshore": {"elicitation": "defaults"}}
    with tempfile.TemporaryDirectory() as folder:
        (pathlib.Path(folder) / "mcp.json").write_text(json.dumps({"mcpServers": {"suite": entry}}))
        listed = longshore(folder, "servers", "tools", "suite", "--json")
        sys.stdout.write(listed.stdout)
        tools = [json.loads(line) for line in listed.stdout.splitlines()]
        calls = context.get("toolCalls") or [{"name": t["name"], "arguments": arguments(t, tools)} for t in tools]
        if listed.returncode or not calls:
            return listed.returncode
        steps = [
            {"id": f"call_{n}", "call": f"suite/{call['name']}", "with": call["arguments"], "continue-on-error": True}
            for n, call in enumerate(calls)
        ]
        workflow = {"longshore": "v1", "name": "conformance", "steps": [{"parallel": steps}]}
        (pathlib.Path(folder) / "workflow.json").write_text(json.dumps(workflow))
        run = longshore(folder, "run", "workflow.json", "--data", "data")
        sys.stdout.write(run.stdout)
        return run.returncode


sys.exit(main())
