"""The gateway as a tool of agents, by the Model Context Protocol (https://modelcontextprotocol.io/specification)."""
