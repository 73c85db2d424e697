"""Durable work queues on Kubernetes and RabbitMQ.

    from longshore import Client, Job, handler
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any
