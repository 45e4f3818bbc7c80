"""The strict mounts: each file serves one vendor's request, answer and error shapes below a path of its own."""
