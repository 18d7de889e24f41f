-- What was seen of the source when the vessel was read: its run may have taken a second snapshot half-way.
ALTER TABLE bulkmig.vessels ADD COLUMN source_snapshot text;
