"""The outside: RabbitMQ and Kubernetes, behind the protocols that `app` declares."""
