"""`bulkmig quarantine retry`: what has left quarantine is loaded."""
