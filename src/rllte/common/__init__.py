"""Small helpers for programs of users."""
