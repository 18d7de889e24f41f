"""What the actors stand on. Nothing here knows an entity, and nothing here imports an actor."""
