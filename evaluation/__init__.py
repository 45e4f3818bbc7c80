"""Which reranker should I use? Measures models on the user's own data, through a gateway: `rerank-gateway eval`.

A package of its own, which needs the extra `eval`. The gateway does not know it, but for one command that imports it
when it runs.
"""
