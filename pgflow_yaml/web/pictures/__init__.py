"""Pictures of runs as SVG text: data in, text out. They have classes, and no style of their own."""
