"""Arms of a study, one file each: what each is made from, how, and how a report shows it."""
