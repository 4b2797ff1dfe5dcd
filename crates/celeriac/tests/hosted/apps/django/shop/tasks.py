from celery import shared_task
from django.db import transaction
from django.utils import timezone

from .models import Order


@shared_task
def pay(order_id):
    with transaction.atomic():
        order = Order.objects.select_for_update().get(pk=order_id)
        order.state = "paid"
        order.save()
    return order.state


@shared_task
def fail():
    return Order.objects.get(pk=-1).state


@shared_task
def zone():
    return str(timezone.get_current_timezone())


@shared_task
def add(x, y):
    return x + y
