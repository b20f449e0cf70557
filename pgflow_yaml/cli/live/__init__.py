"""A run on the screen: pure functions from a snapshot to lines, and the loop that follows a run.

The facts come from `runs`. `symbols` has the characters and styles, `tree` the steps that are rows,
`step_details` the words beside a step and `notes` the lines below it; `frame` draws all that and
`end_screen` the end of a run. `views` are the ways to show a run that goes on, `redrawing` changes
the picture in place, `follow` brings a run to its end.
"""
