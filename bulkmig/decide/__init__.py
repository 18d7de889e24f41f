"""What has to be decided over the whole fleet before its first row is written: slugs, e-mails, adoption,
IMO numbers, QR codes. Reads both databases with a few set queries, writes nothing."""
