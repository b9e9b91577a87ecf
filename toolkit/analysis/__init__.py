"""From finished runs to statements: metric descriptions, statistics, findings, and which report a scenario has."""
