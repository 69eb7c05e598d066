"""The control methods: settings, and the network that they stand for."""
