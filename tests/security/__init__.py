"""What people and others may try. Each test is a line of docs/security.md."""
