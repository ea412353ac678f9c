"""Transcoding songs for Discord in a child process."""
