"""Jobs in a cluster: seen and asked through its API server alone."""
