"""What a given traffic takes: a model of a fleet of gateways, made of measured costs. It asks nobody."""
