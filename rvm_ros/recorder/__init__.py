"""Records what a perception node sees and says into bags."""
