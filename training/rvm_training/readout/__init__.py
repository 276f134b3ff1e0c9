"""Readouts: small heads trained on a frozen encoder's features, the protocol of Scaling 4D Representations."""
