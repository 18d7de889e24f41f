"""What keeps secrets: encryption at rest."""
