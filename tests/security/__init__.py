"""What each role may do, and what a hostile one may not."""
