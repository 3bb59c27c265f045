"""A server with one tool, which gives a cart with values of every type."""

import os, sys

sys.path.insert(0, os.path.join(sys.path[0], "..", "lib"))

from mcpstdio import *

items = [{"sku": "a", "price": 10, "n": 2}, {"sku": "b", "price": 10.5, "n": 1}]
cart = {"items": items, "total": 30.0, "discount": None, "empty": [], "content-type": "text/html", "first name": "Ada",
        "map": {"2": "two"}, "in": 1, "size": 3, "name": "Zoë", "created": "2026-11-27T10:00:00Z"}
serve([tool("cart")], lambda ident, name, given: result(ident, text(json.dumps(cart), structuredContent=cart)))
