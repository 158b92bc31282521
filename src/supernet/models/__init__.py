"""Networks: the supernet and how it is run, the plain network of one architecture, and what networks cost."""
