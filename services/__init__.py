"""The product: what a song is, what it costs, and how it gets made. Never imports discord."""
