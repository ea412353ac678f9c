"""`/quota`: what the managers of a server set."""
