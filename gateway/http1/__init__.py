"""HTTP/1.1 over asyncio: connections, their pool, heads and bodies; knows nothing of reranking."""
