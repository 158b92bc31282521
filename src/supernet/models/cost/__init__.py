"""What networks cost, and the best architecture within limits of cost."""
