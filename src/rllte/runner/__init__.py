"""What is stale, and doing it: plans, locks, batches on Ray."""
