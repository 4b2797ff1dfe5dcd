"""An app of everything that a worker does for a task; each module has tasks and the checks that call them."""
