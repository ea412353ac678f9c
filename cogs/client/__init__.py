"""The bot itself: gateway, registration, permissions, errors, persistent components."""
