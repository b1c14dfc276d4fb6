"""Preview addresses: from the step that makes them to the Service behind them."""
