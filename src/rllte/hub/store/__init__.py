"""Verified bytes of artifacts: sources, the catalogue, remotes, git and the cache."""
