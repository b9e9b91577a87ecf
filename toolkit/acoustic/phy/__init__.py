"""What modems make of it: levels on the channel, who locks on which frame, and what is decoded."""
