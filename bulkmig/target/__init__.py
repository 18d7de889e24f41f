"""TO: the Maintenance Portal, live. A vessel is written in one transaction, which small ones share."""
