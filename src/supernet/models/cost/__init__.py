"""The cost of networks, limits on cost, and the best architecture within limits."""
