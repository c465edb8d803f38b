"""A real MCP server over standard input and output: one tool that works, and one that fails."""

import time

from mcp.server import MCPServer
from mcp.server.mcpserver.exceptions import ToolError

server = MCPServer("facts")


@server.tool()
def tarx_recall(query: str) -> str:
    """Look up a stored fact."""
    time.sleep(0.05)
    return f"{query}: Porto"


@server.tool()
def tarx_remember(key: str, value: str) -> str:
    """Store a fact; the store is full."""
    raise ToolError(f"no room for {key}")


if __name__ == "__main__":
    server.run("stdio")
