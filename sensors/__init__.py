"""What triggers work: staleness and drift ask for a retrain, the watchdog calls a dead live session dead."""
