"""One student: trains, labels, distils, and can resume exactly."""
