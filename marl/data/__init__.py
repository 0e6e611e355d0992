"""Recording, storing and checking transitions, in memory and in files."""
