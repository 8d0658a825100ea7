"""Speed and quality, side by side with peers: scripts that print tables."""
