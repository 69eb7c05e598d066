"""The control methods, one file each: settings, and the network that they stand for."""
