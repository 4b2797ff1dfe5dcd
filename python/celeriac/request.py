"""The request of a task, as Celery's tracer and Celery's own request take it."""

#: What a request has beside the headers of its message.
ADDED = ("properties", "reply_to", "correlation_id", "hostname", "delivery_info")


def headers_of(request):
    """The headers of the message that a request is made of."""
    headers = request.copy()
    for name in ADDED:
        headers.pop(name, None)
    return headers


def complete(request):
    """Adds what does not travel twice: py-amqp has the headers among a message's properties, too."""
    properties = request.get("properties")
    if properties is not None:
        properties["application_headers"] = headers_of(request)
