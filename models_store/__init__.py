"""Everything durable, and the one way to run a finished model."""
