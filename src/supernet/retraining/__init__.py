"""One architecture, trained from scratch, measured, used and exported."""
