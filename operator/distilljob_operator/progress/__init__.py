"""Where samples of progress come from: the aggregator's own metrics, or a Prometheus server that scrapes them."""
