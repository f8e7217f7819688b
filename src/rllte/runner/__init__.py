"""Bring a checkout up to date: find stale stages, plan tasks, and run them on Ray."""
