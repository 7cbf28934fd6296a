"""What every part of distilljob shares: the resource, the plan, the lifecycle, soft labels, the exchange."""
