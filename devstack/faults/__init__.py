"""What breaks on purpose: connections, disks, power."""
