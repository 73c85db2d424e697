"""The Longshore operator: keeps RabbitMQ and Kubernetes as TaskQueues say."""
