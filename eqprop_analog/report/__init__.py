"""A run as a page of HTML: a light page during the run (live), and the complete report (whole)."""
