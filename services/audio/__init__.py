"""Audio: files made fit for Discord, in a child process."""
