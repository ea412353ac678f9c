"""Songs: commands, buttons, the status message and the post."""
