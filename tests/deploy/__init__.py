"""The files with which others run it: read by their own tools, and compared with the program."""
