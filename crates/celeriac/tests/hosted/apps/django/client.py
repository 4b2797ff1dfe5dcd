import json
import os
import sys
from functools import partial

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")
django.setup()


def prepare():
    from django.core.management import call_command
    from django.db import connection
    from shop.models import Order

    call_command("migrate", verbosity=0)
    with connection.schema_editor() as editor:
        editor.create_model(Order)


def check():
    from celery import chain, chord
    from django.db import transaction
    from django_celery_results.models import TaskResult
    from shop.models import Order
    from shop.tasks import add, fail, pay, zone

    with transaction.atomic():
        order = Order.objects.create()
        if hasattr(pay, "delay_on_commit"):  # Celery 5.4 and newer
            pay.delay_on_commit(order.pk)
        else:
            transaction.on_commit(partial(pay.delay, order.pk))
    results = [pay.delay(order.pk), fail.delay(), zone.delay(), chain(add.s(1, 1), add.s(2))()]
    told = [repr(result.get(timeout=60, propagate=False)) for result in results]
    told.append(chord([add.s(1, 1), add.s(2, 2)], add.s(["end"]))().get(timeout=60, propagate=False))
    stored = {row.task_name: [row.status, row.worker] for row in TaskResult.objects.order_by("date_created")}
    return {"told": repr(told), "stored": stored, "orders": [order.state for order in Order.objects.all()]}


print(json.dumps({"prepare": prepare, "check": check}[sys.argv[1]]()))
