"""A run as data, pure: its snapshot, and the facts that any screen may lay out.

`snapshot` has the shapes; `run` has the facts of a run as a whole, `steps` those of one step,
`waits` what it waits for and `failures` who handles its failure. `why` gives a reason for each
unfinished step, `events` what happened between two snapshots, `graph` a run on its flow.
"""
