"""The sea: absorption, noise and sound speed, modems and the medium between them, MAC, routing and SNR prediction."""
