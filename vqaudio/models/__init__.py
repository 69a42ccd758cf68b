"""The networks, each with its configuration; model folders."""
