"""How fast the recurrent step is: engines side by side, the shares of a frame, and cost over time and context."""
