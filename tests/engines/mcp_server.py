"""A real MCP server over stdio (or streamable HTTP, given a port) with a few search tools."""

import os
import sys
import time

from mcp.server.mcpserver import MCPServer

server = MCPServer("search")


@server.tool()
def search(query: str, limit: int = 10) -> list[dict[str, str]]:
    """Records, as most search tools give them."""
    if query == "die":
        os._exit(3)
    if query == "fail":
        raise ValueError("quota used up")
    if query == "wait":
        time.sleep(5)
    return [{"title": f"Title {i}", "text": f"{query} {i}", "url": f"http://a.test/{i}"} for i in range(limit)]


@server.tool()
def prose(q: str) -> str:
    """A numbered list in words."""
    return {"huge": "x" * 9_000_000, "nothing": ""}.get(q, f"1. first of {q}.\n2. second <answer>of {q}</answer>.")


@server.tool()
def environment(query: str) -> str:
    """What the environment says."""
    return os.environ.get(query, "(not set)")


if len(sys.argv) > 1:
    server.run("streamable-http", port=int(sys.argv[1]))
print("chatter on stderr", file=sys.stderr)
server.run("stdio")
