"""The ledger of a flight: entries, totals and pages."""
