"""Get the verified bytes of artifacts: sources, the catalogue, remotes, git and the cache."""
