"""An HTTP/1.1 client over asyncio, and the write queue that the server shares; knows nothing of reranking."""
