"""A song's life: its request, the queue, the pipeline that makes it, and its delivery."""
