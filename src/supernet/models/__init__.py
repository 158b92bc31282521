"""Networks: the supernet, the network of one architecture, how they are run and scored, and what they cost."""
