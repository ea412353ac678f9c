"""What must hold whatever breaks. Each test is a line of docs/reliability.md."""
