"""Videos made by the program itself, with their true masks, so that nothing has to be downloaded."""
