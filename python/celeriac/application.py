"""Finds the app, as the command `celery` does, and fails as it does."""

import importlib
import traceback

from . import options


class Unusable(Exception):
    """The command line asks for what cannot be: a message, as `click` shows it."""

    def show(self):
        """Prints the message as the command `celery` would."""
        import click

        # Celery's own group is for its usage line; it takes half a second to import, and nobody waits any more.
        group = importlib.import_module("celery.bin.celery").celery
        click.UsageError(str(self), click.Context(group, info_name="celery")).show()


def of(given):
    """The app that a command line names, with the settings that it makes."""
    app = find(options.prepare(given))
    if given.get("disable_prefetch") is not None:
        app.conf.worker_disable_prefetch = given["disable_prefetch"]
    configure(app, given.get("settings"))
    return app


def find(name):
    """The app of that name, or the default one."""
    from celery._state import get_current_app
    from celery.app.utils import find_app

    if not name:
        return get_current_app()
    try:
        return find_app(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise failed(name) from error
        raise Unusable(texts().UNABLE_TO_LOAD_APP_MODULE_NOT_FOUND.format(error.name)) from error
    except AttributeError as error:
        raise Unusable(texts().UNABLE_TO_LOAD_APP_APP_MISSING.format(str(error).capitalize())) from error
    except Exception as error:
        raise failed(name) from error


def failed(name):
    return Unusable(texts().UNABLE_TO_LOAD_APP_ERROR_OCCURRED.format(name, traceback.format_exc()))


def texts():
    """Where Celery keeps its words for this."""
    return importlib.import_module("celery.bin.celery")


def configure(app, settings):
    """Trailing arguments are settings."""
    if not settings:
        return
    try:
        app.config_from_cmdline(settings, namespace="worker")
    except (KeyError, ValueError) as error:
        raise Unusable(f"Unable to parse extra configuration from command line.\nReason: {error}") from error


def user_options(app, arguments):
    """What the app's own options were given: those of the worker; those of all commands go to its signal."""
    import click
    from celery import signals

    worker, preload = (list(app.user_options.get(kind, ())) for kind in ("worker", "preload"))
    command = click.Command("worker", params=worker + preload)
    try:
        values = command.make_context("worker", list(arguments)).params
    except click.ClickException as error:
        raise Unusable(error.format_message()) from error
    names = {option.name for option in preload}
    if names:
        options = {name: values[name] for name in names}
        signals.user_preload_options.send(sender=command, app=app, options=options)
    return {name: value for name, value in values.items() if name not in names}
