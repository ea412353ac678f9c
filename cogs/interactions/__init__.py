"""What commands, buttons and forms share: who sent one, what they may, whether it is of today."""
