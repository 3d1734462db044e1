"""How requests travel: the Celery application and the embedded broker."""
