"""The settings of a checkout, and the specs, environments and agents built from them."""
