"""What the managers of a server decide, and the record of it."""
