"""The connection to Discord: the client, its frames, and the commands that it registers."""
