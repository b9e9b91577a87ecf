"""The engine: scenarios and parts, the clock, named random streams, the ledger, the run directory."""
