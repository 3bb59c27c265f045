"""A server whose tools have unusual schemas of their arguments."""

import os, sys

sys.path.insert(0, os.path.join(sys.path[0], "..", "lib"))

from mcpstdio import *

kind = {"type": "object", "properties": {"kind": {"const": "a"}}, "required": ["kind"]}
number = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
node = {"type": "object", "properties": {"next": {"anyOf": [{"$ref": "#/$defs/Node"}, {"type": "null"}]},
                                         "size": {"$ref": "#/$defs/Size"}}}
draft_04 = {"n": {"type": "integer", "exclusiveMinimum": True, "minimum": 0}}
limit = {"anyOf": [{"type": "integer"}, {"type": "null"}], "default": None}
schemas = {
    "only_dialect": {"$schema": "http://json-schema.org/draft-07/schema#"},
    "empty": {},
    "any_root": {"anyOf": [kind, number]},
    "ref_defs": {"$defs": {"Size": {"enum": ["s", "m"]}, "Node": node}, "type": "object",
                 "properties": {"node": {"$ref": "#/$defs/Node"}}, "required": ["node"]},
    "ref_root": {"$ref": "#/definitions/In", "$schema": "http://json-schema.org/draft-04/schema#",
                 "definitions": {"In": {"type": "object", "properties": draft_04}}},
    "string_root": {"type": "string"},
    "optional_null": {"type": "object", "properties": {"limit": limit}},
    "uint": {"type": "object", "properties": {"n": {"type": "integer", "format": "uint32", "minimum": 0}}},
    "int_float": {"type": "object", "properties": {"n": {"type": "integer"}}},
}
tools = [{"name": name, "inputSchema": schema} for name, schema in schemas.items()]
serve(tools, lambda ident, name, given: result(ident, text(json.dumps(given))))
