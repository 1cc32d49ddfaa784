"""Who holds a request and who ends it: leases, the queue, the reaper, the watchdog, the finish."""
