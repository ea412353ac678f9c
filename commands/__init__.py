"""Terminal commands, one file each. Only `bot.py` imports them."""
