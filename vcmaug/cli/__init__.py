"""The command line: `verbs` lists what there is, and in which module."""
