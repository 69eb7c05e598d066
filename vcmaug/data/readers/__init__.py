"""The parts of the family `Reader`: one file per layout, called by the part's name."""
