"""Train, evaluate, export, collect: the plain functions that DVC's stages and the command line call."""
