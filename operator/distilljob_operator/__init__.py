"""DistillJob to cluster: the Kubernetes operator."""
