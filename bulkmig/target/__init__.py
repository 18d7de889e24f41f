"""TO: the Maintenance Portal, live, written in one transaction per vessel."""
