"""The operator's commands, and servers that the bot joins and leaves."""
