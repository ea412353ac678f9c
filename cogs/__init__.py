"""Discord in, Discord out. A cog only translates; the rules are in `services`."""
