"""What is shown of a checkout: the catalogue and the pages that are generated from it."""
