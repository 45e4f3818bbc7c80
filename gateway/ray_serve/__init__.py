"""Local models as replicas on Ray Serve: what a replica is, how many there are, and the files that tell a cluster."""
