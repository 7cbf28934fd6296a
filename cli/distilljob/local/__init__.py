"""The plan's processes on one machine: the same arguments and environment that pods get, restarted by the lifecycle."""
