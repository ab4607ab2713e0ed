"""The command line `pgmc`."""
