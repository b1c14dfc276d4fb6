"""What a rollout says to other systems: webhooks, and the templates in which deploy files write them."""
