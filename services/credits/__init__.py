"""Credits: what members have, what songs cost, and what may be spent in a period."""
