"""The gateway: one HTTP endpoint in front of every reranker."""
