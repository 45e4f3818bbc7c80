"""The dialects: each file holds one vendor's request, answer and error bodies; `unified` holds our own."""
