"""Settings of a checkout, and what is built from them: specs, environments, agents."""
