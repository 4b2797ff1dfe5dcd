import sys
package, *descriptors = map(int, sys.argv[1:])
sys.path[:] = [f"/dev/fd/{package}"] + [entry for entry in sys.path if entry]
try:
    import celeriac.host
except ModuleNotFoundError as error:
    if error.name not in ("billiard", "celery", "kombu"):
        raise
    sys.exit(
        f"Error: {sys.executable} has no Celery ({error}).\n"
        "Activate the app's virtual environment, or name its interpreter: --python PATH."
    )
sys.path_importer_cache.pop(sys.path.pop(0), None)
celeriac.host.main(package, *descriptors)
