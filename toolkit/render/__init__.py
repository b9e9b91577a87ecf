"""How a comparison is shown: tables in a terminal, figures, one HTML page. Everything here takes a `Comparison` and changes nothing."""
