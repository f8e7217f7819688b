"""Small helpers that programs of users import."""
