"""Credits: what members see of theirs, and what managers grant and take."""
