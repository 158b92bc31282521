"""Output for people: the console, progress and figures."""
