"""Write the files that present a checkout: the catalogue and the pages generated from it."""
