"""RLLTE Hub: trained agents, learning curves and scores, versioned as data."""
