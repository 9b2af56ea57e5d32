"""A run as a page of HTML: the light one while it goes on (live), and the whole report (whole)."""
