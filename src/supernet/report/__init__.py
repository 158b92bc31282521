"""What a person sees: the console, progress, and pictures."""
