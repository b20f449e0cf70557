"""A run on the screen: pure modules from a snapshot to lines, and the loop that follows a run.

`snapshot` has the shapes, `symbols` what is drawn with, `tree` which steps are rows,
`step_details` the words beside a step and `notes` the lines below it, `waits` what a step waits
for and `fates` what becomes of failures; `frame` draws all that, `end_screen` the end of a run
and `events` what happened between two snapshots. `views` are the ways to show a run that goes on,
`follow` brings it to its end.
"""
