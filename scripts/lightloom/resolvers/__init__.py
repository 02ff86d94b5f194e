"""Services that are asked for targets: what they list becomes a table of the sample."""
